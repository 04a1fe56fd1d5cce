"""The how-to "A model of your own": its code runs as it stands, and the model does all that the page says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.cli.main import main
from mmgrad_explain.composers import capabilities, load_composer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-model.md"
OWN = PAGE.read_text(encoding="utf-8").partition("\n## A model of transformers")[0]
BLOCKS = re.findall(r"(?ms)^```(python|sh)\n(.*?)^```", OWN)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the page's code leaves behind, run in a folder with photographs."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "photos").mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{seed}.png")
    Image.fromarray(pixels).save(folder / "photo.jpg")
    names = {"__name__": "page"}
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, code in BLOCKS:
            if language == "python":
                exec(compile(code, str(PAGE), "exec"), names)
                if "MyModel().eval()" in code:
                    names["before"] = {name: one.clone() for name, one in names["model"].state_dict().items()}
            else:
                assert main(shlex.split(code)[1:]) == 0
        yield names


def test_the_class_is_short():
    lines = [line for line in BLOCKS[0][1].splitlines() if line.strip()]
    assert len(lines[lines.index("class MyModel(Composer):") :]) <= 24


def test_it_is_explained_with_words(ran):
    explanation = ran["explanation"]
    assert explanation.maps.shape == (2, 15, 15)
    assert (explanation.maps.amax((1, 2)) > 0).all()
    assert [[word.text for word in words] for words in explanation.words] == [
        ["make", "it", "red"], ["remove", "the", "star"]
    ]  # fmt: skip
    assert Path("map.png").stat().st_size > 0


def test_many_texts_in_stages_give_the_maps_of_single_calls(ran, same_maps):
    model = ran["again"].eval()
    assert capabilities(model).takes_many_texts
    together = ran["explain"]("photo.jpg", ["make it red", "remove the star"], model=model)
    alone = ran["explain"]("photo.jpg", "remove the star", model=model)
    same_maps(together.maps[1:], alone.maps)


def test_a_gallery_finds_all_photographs(ran):
    hits = ran["found"].hits
    assert [Path(hit.path).name for hit in sorted(hits, key=lambda hit: hit.path)] == ["0.png", "1.png", "2.png"]


def test_it_is_evaluated(ran):
    assert 0 <= ran["figures"]["all"]["R@1"] <= ran["figures"]["all"]["R@10"] <= 1
    assert ran["figures"]["all"]["R@50"] > 0


def test_it_is_trained_and_its_weights_come_back(ran):
    before, kept, trained = ran["before"], ran["again"].state_dict(), ran["model"].state_dict()
    assert all(not torch.equal(before[name], kept[name]) for name in before if name.endswith("weight"))
    assert not torch.equal(kept["mix.2.weight"], trained["mix.2.weight"])  # the trainer went on
    assert 0 <= ran["held_out"]["eval_pointing"] <= 1
    assert ran["losses"].figures["dice"] > 0


def test_it_passes_where_composers_pass(ran):
    assert load_composer(ran["model"]) is ran["model"]
    assert capabilities(ran["model"]).missing_to_train == ()
