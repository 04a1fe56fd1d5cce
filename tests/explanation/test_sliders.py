"""The sliders of a notebook: each draws what ``overlay`` draws; and in a real kernel."""

import builtins
import io
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.sliders import COLORMAPS
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.images.overlay import colorize
from mmgrad_explain.images.placement import Placement


@pytest.fixture
def explanation():
    """Two samples with targets and words, their maps slopes."""
    slope = torch.arange(24.0).view(4, 6)
    maps = torch.stack([slope, slope.flip(0)])
    flat = torch.tensor([False, False])
    pictures = tuple(Image.new("RGB", (48, 32), colour) for colour in ("navy", "gray"))
    places = (Placement((32, 48), (16, 24), (0.5, 0.5), (0.0, 0.0)),) * 2
    return Explanation(
        calls=(maps, maps.flip(2)),
        score=torch.tensor([0.5, 0.25]),
        score_name="pair",
        method="gradcam",
        layers={"body": [maps, maps]},
        signed={"body": [maps, maps]},
        layouts={"body": ("nchw", "nchw")},
        flat=flat,
        clipped=flat,
        texts=("make it red", "remove it"),
        images=pictures,
        placements=places,
        targets=pictures[::-1],
        target_placements=places,
        words=((Word("red", 1.0, 1.0, (0,)),), (Word("remove", 1.0, 1.0, (0,)),)),
    )


def shown(widget):
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)))


def test_each_control_draws_what_overlay_draws(explanation):
    widget = explanation.interactive()
    asked = {"words": True}
    assert np.array_equal(shown(widget), np.asarray(explanation.overlay(0, **asked)))
    for name, value in {
        "index": 1,
        "alpha": 0.35,
        "threshold": 0.5,
        "colormap": "magma",
        "contour": True,
        "target": False,
        "words": False,
    }.items():
        before = widget.picture.value
        widget.controls[name].value = asked[name] = value
        assert widget.picture.value != before, name
        assert np.array_equal(shown(widget), np.asarray(explanation.overlay(**asked))), name
    widget.controls["target"].value = True
    assert np.array_equal(shown(widget), np.asarray(explanation.overlay(**(asked | {"target": None}))))


def test_photographs_are_drawn_no_larger_than_a_notebook_shows(explanation):
    pictures = tuple(one.resize((1500, 1000)) for one in explanation.images)
    places = (Placement((1000, 1500), (16, 24), (0.016, 0.016), (0.0, 0.0)),) * 2
    widget = replace(explanation, images=pictures, placements=places, targets=None, words=None).interactive()
    height, width, _ = shown(widget).shape
    assert 480 < height < 600
    assert 2 * 720 < width < 1600


def test_only_what_there_is_can_be_chosen(explanation):
    widget = explanation.interactive()
    assert list(widget.controls) == ["index", "alpha", "threshold", "colormap", "contour", "target", "words"]
    assert list(widget.controls["index"].options) == [("1. make it red", 0), ("2. remove it", 1)]
    unnamed = replace(explanation, texts=None).interactive()
    assert list(unnamed.controls["index"].options) == [("1.", 0), ("2.", 1)]
    one = replace(explanation, calls=(explanation.calls[0][:1],), targets=None, words=None).interactive()
    assert list(one.controls) == ["alpha", "threshold", "colormap", "contour"]
    once = replace(explanation, calls=explanation.calls[:1]).interactive()
    assert "target" not in once.controls, "a target without a map of its own"


def test_a_slider_that_moves_does_not_queue_redraws(explanation):
    controls = explanation.interactive().controls
    assert not controls["alpha"].continuous_update
    assert not controls["threshold"].continuous_update
    controls["threshold"].value = 1.0
    assert controls["threshold"].value == 0.95, "overlay takes no threshold of 1"


def test_every_colormap_is_known():
    for name in COLORMAPS:
        assert colorize(np.zeros((1, 1), np.float32), name).shape == (1, 1, 3)


def test_no_pictures(explanation):
    with pytest.raises(InputError, match=r"knows none: pass them to attach_images\(\) first"):
        replace(explanation, images=None).interactive()


def test_without_ipywidgets(explanation, monkeypatch):
    plain = builtins.__import__

    def importing(name, *rest, **options):
        if name == "ipywidgets":
            raise ImportError("No module named 'ipywidgets'")
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(InputError, match=r'No module named .*: pip install "mmgrad-explain\[notebook\]"'):
        explanation.interactive()


def test_in_a_real_kernel(tmp_path):
    """A notebook: an explanation as HTML and PNG, its widget, and the same moved from Python."""
    Image.new("RGB", (60, 40), "navy").save(tmp_path / "query.png")
    cells = [
        'from mmgrad_explain import explain\nexplanation = explain("query.png", "make it red")\nexplanation',
        "widget = explanation.interactive()\nwidget",
        'widget.controls["alpha"].value = 0.2',
        "from mmgrad_explain.explanation.notebook import png_bytes",
        "widget.picture.value == png_bytes(explanation.overlay(alpha=0.2), quick=True)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    seen, sliders, same = (
        one["data"] for cell in notebook.cells for one in cell.outputs if one.output_type == "execute_result"
    )
    assert {"text/html", "image/png"} <= set(seen)
    assert "make it red" in seen["text/html"]
    view = sliders["application/vnd.jupyter.widget-view+json"]
    widgets = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert widgets[view["model_id"]]["model_name"] == "VBoxModel"
    assert {"FloatSliderModel", "DropdownModel", "CheckboxModel", "ImageModel"} <= {
        one["model_name"] for one in widgets.values()
    }
    assert same["text/plain"] == "True"
