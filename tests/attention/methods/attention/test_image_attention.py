"""The image's tower among all attention of a model, and values of tokens on the grid."""

import pytest
import torch

from mmgrad_explain.attention.attention_layers.sites import AttentionSite
from mmgrad_explain.attention.layouts.layout import Cells, Layout
from mmgrad_explain.attention.methods.attention.image_attention import find_image_tower, tokens_to_map
from mmgrad_explain.errors import InputError


def site(block, queries=17, keys=17, source="image", asked_by="same", reached=True, tokens_of="same", call=0):
    asked_by = source if asked_by == "same" else asked_by
    return AttentionSite(
        block, call, 0, 2, queries, keys, "image" in asked_by, "text" in asked_by, "image" in source, "text" in source,
        reached, block if tokens_of == "same" else tokens_of,
    )  # fmt: skip


BLOCKS = [site(f"vision.{number}") for number in range(3)]
TEXT = [site(f"text.{number}", 5, 5, "text", tokens_of=None) for number in range(2)]


def test_the_tower_is_the_blocks_of_the_image_alone():
    tower = find_image_tower([*BLOCKS, *TEXT], "m")
    assert tower.names == ["vision.0", "vision.1", "vision.2"]
    assert (tower.last, tower.last_blocks(2), tower.last_blocks(9)) == ("vision.2", tower.names[1:], tower.names)
    assert tower.pooler == ()


def test_blocks_that_the_score_does_not_depend_on_are_left_out():
    assert find_image_tower([*BLOCKS[:2], site("vision.2", reached=False)], "m").last == "vision.1"


def test_learned_queries_pool_the_last_block():
    pooler = site("pool", 1, 17, asked_by="", tokens_of="vision.2")
    unread = site("pool2", 1, 17, asked_by="", tokens_of="vision.2", reached=False)
    assert find_image_tower([*BLOCKS, pooler, unread], "m").pooler == (pooler,)


def test_a_text_that_attends_to_the_image_is_no_pooler():
    assert find_image_tower([*BLOCKS, site("cross", 5, 17, asked_by="text", tokens_of="vision.2")], "m").pooler == ()


def test_a_block_that_also_reads_a_text_is_no_block_of_the_tower():
    joint = [site("joint.0"), site("joint.0", 17, 5, "text", asked_by="image", tokens_of=None)]
    assert find_image_tower([*BLOCKS, *joint], "m").last == "vision.2"


def test_the_last_of_several_stages_counts():
    stages = [site("stages.0", 64, 64), *BLOCKS]
    assert find_image_tower(stages, "m").names == [block.block for block in BLOCKS]


@pytest.mark.parametrize(
    ("sites", "why"),
    [
        ([], "convolutional network"),
        ([site("window", 4, 4, tokens_of=None)], "windows"),
        ([site("joint", 20, 20, "image text")], "one sequence"),
    ],
)
def test_models_without_a_tower_are_refused_with_a_way_out(sites, why):
    with pytest.raises(InputError, match=f"{why}.*layercam"):
        find_image_tower(sites, "m")


def test_tokens_lie_on_the_grid_row_by_row_without_those_before_and_after():
    values = torch.arange(9.0).expand(2, 9)
    maps = tokens_to_map(values, Layout("tokens", (2, 3), 2))
    assert maps[0].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert tokens_to_map(values, Layout("tokens", (2, 3), 2), (1,)).shape == (1, 2, 3)


def test_half_precision_becomes_float32_and_float64_stays():
    layout = Layout("tokens", (2, 2), 0)
    assert tokens_to_map(torch.ones(1, 4, dtype=torch.float16), layout).dtype == torch.float32
    assert tokens_to_map(torch.ones(1, 4, dtype=torch.float64), layout).dtype == torch.float64


def test_cells_in_another_order_are_put_back():
    order = torch.tensor([2, 0, 3, 1])
    cells = Cells(
        lambda x: x.transpose(1, 2)[:, :, None],
        lambda maps: torch.zeros(len(maps), 4).index_copy(1, order, maps[:, 0]).unflatten(1, (2, 2)),
    )
    assert tokens_to_map(torch.tensor([[20.0, 0.0, 30.0, 10.0]]), cells)[0].tolist() == [[0, 10], [20, 30]]
