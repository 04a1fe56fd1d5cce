"""``mmgrad-explain data labels``."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2
from mmgrad_explain.composers.reference.segmenter import Segmenter


@pytest.fixture
def typed(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (20, 16), "gray").save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "names.txt").write_text("background\ndog\n")
    save_file(PlainMobileNetV2(1.0, (1, 2, 3, 4), "same", 16).state_dict(), tmp_path / "trunk")
    save_file(Segmenter(320, 2).state_dict(), tmp_path / "head")
    files = {option: str(tmp_path / option) for option in ("trunk", "head")}
    return [
        "data", "labels", str(tmp_path), "--trunk", files["trunk"], "--head", files["head"],
        "--names", str(tmp_path / "names.txt"), "--size", "32",
    ]  # fmt: skip


def test_it_labels_a_folder_and_says_what_it_found(typed, tmp_path, capsys):
    assert main([*typed, "--sure", "0", "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out).values()) >= 1
    assert Image.open(tmp_path / "labels" / "a.png").size == (20, 16)
    assert main(typed) == 0
    assert "photographs" in capsys.readouterr().out


def test_a_probability_above_one(typed, capsys):
    assert main([*typed, "--sure", "2"]) == 2
    assert "--sure a probability" in capsys.readouterr().err
