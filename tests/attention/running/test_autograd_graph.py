"""Searches in small graphs that are written down by hand."""

import pytest
import torch

from mmgrad_explain.attention.running.autograd_graph import (
    every_path_passes,
    find_leaves_below,
    find_nearest_stops,
    find_nodes_to,
    node_of,
)


@pytest.fixture
def graph():
    """``end = early -> late -> end``, and beside it ``early -> end``; ``other`` joins at the end."""
    image, other = (torch.rand(3, requires_grad=True) for _ in range(2))
    early = image * 2
    late = early.exp()
    return {"image": image, "other": other, "early": early, "late": late, "end": late + early + other}


def test_find_leaves_below(graph):
    marks = {id(graph["image"]): 1, id(graph["other"]): 2}
    tensors = [graph["late"], graph["other"], graph["end"], torch.zeros(1)]
    assert find_leaves_below(tensors, marks) == [1, 2, 3, 0]


def test_find_nearest_stops(graph):
    stops = {node_of(graph[name]): name for name in ("early", "late")}
    assert find_nearest_stops(node_of(graph["end"]), stops) == {"early", "late"}
    assert find_nearest_stops(node_of(graph["late"]), stops) == {"early"}
    stops[node_of(graph["other"])] = "other"
    assert find_nearest_stops(node_of(graph["end"]), stops, allowed=set()) == {"other"}, "the sum below is not entered"


def test_every_path_passes(graph):
    leaves, end = [node_of(graph["image"])], node_of(graph["end"])
    allowed = find_nodes_to(graph["end"], leaves)
    assert node_of(graph["other"]) not in allowed
    assert every_path_passes(end, [node_of(graph["early"])], leaves, allowed)
    assert not every_path_passes(end, [node_of(graph["late"])], leaves, allowed)
