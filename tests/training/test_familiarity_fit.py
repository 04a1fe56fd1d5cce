"""Describing a model's training images in its folder."""

import json
import shutil

import pytest

from mmgrad_explain.composers.familiarity import Familiarity
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.familiarity_fit import main

SMALL = [
    "--config",
    "tiny",
    "--set",
    "sources.scenes.pictures=40",
    "--pictures",
    "100",
    "--set",
    "sources.scenes.edits=2",
]


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


def test_the_file_is_written_and_the_figures_printed(folder, strange, capsys):
    words = ["--trained-on", "shapes", "--alternative", "take another"]
    unknown = ["--unknown", str(strange), "--views", "40", "--without", "2", "--scene-variants"]
    assert main([str(folder), *SMALL, *words, *unknown, "--against", str(strange)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["false alarms"]["scenes"] < 0.2
    assert result["against"]["pictures"] == 3
    assert 0 <= result["against"]["auc"] <= 1
    found = Familiarity.load(folder)
    assert (found.trained_on, found.alternative) == ("shapes", "take another")
    assert found.breadth == 1 - result["against"]["noted"]
    assert list(found.kinds) == ["scenes"]
    assert found.kinds["scenes"].plane.abs().sum() > 0


def test_further_images_and_unknown_scenes(folder, strange, capsys):
    assert main([str(folder), *SMALL, "--more", str(strange), "--views", "40", "--unknown-scenes"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["false alarms"]
    assert Familiarity.load(folder).breadth == 1.0


def test_without_unknown_images(folder, capsys):
    assert main([str(folder), *SMALL]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["false alarms"]
    found = Familiarity.load(folder)
    assert found.trained_on == "scenes"
    assert found.kinds["scenes"].plane.abs().sum() == 0


def test_a_model_without_such_layers_is_refused(folder, tmp_path, monkeypatch):
    make = ReferenceComposer.__init__

    def describing(*layers):
        def init(self, *given, **named):
            make(self, *given, **named)
            self.described_layers = layers

        monkeypatch.setattr(ReferenceComposer, "__init__", init)

    describing("network.visual.conv1", "network.top")
    with pytest.raises(InputError, match=r"it has no layer network\.top, so that its training images cannot"):
        main([str(folder), *SMALL])
    describing()
    with pytest.raises(InputError, match="a ReferenceComposer names no described_layers"):
        main([str(folder), *SMALL])


def test_an_empty_folder_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        main([str(folder), *SMALL, "--unknown", str(tmp_path / "nothing")])
