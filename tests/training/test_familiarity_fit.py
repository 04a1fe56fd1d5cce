"""Writing into a model folder what its training pictures look like."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.composers.familiarity import Familiarity, grids_seen
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.familiarity_fit import grids_of, main

SMALL = [
    "--config",
    "tiny",
    "--set",
    "sources.scenes.pictures=40",
    "--pictures",
    "120",
    "--set",
    "sources.scenes.edits=2",
]


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


def test_the_file_is_written_and_the_figures_printed(folder, tmp_path, capsys):
    strange = tmp_path / "strange"
    strange.mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(strange / f"{i}.png")
    (strange / "notes.txt").write_text("not a picture")
    words = ["--trained-on", "shapes", "--alternative", "take another"]
    assert main([str(folder), *SMALL, *words, "--against", str(strange)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["false alarms"]["scenes"] < 0.2
    assert result["against"]["pictures"] == 3
    assert 0 <= result["against"]["auc"] <= 1
    found = Familiarity.load(folder)
    assert (found.trained_on, found.alternative) == ("shapes", "take another")
    assert list(found.kinds) == ["scenes"]


def test_without_pictures_to_tell_apart(folder, capsys):
    assert main([str(folder), *SMALL]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["false alarms"]
    assert Familiarity.load(folder).trained_on == "scenes"


def test_an_empty_folder_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        main([str(folder), *SMALL, "--against", str(tmp_path)])


def test_the_grids_are_those_of_explaining(folder, picture):
    """Features before the text is mixed in: the same whatever is asked."""
    composer = load_composer(folder)
    inputs = composer.preprocess([picture], ["make it red"]).tensors
    with grids_seen(composer) as seen:
        composer(**inputs)
    np.testing.assert_allclose(seen[0], grids_of(composer, inputs["pixel_values"]), rtol=1e-4, atol=1e-6)
