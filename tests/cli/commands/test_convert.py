"""``mmgrad-explain convert``: published weights become a model folder that other commands take."""

import importlib.util
import json
from pathlib import Path

import torch
from PIL import Image

_FILE = Path(__file__).parents[2] / "composers" / "published" / "forwards.py"
_SPEC = importlib.util.spec_from_file_location("forwards", _FILE)
forwards = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(forwards)


def test_a_folder_that_overlay_takes(run, tmp_path):
    torch.save({"CLIP": forwards.clip_weights()}, tmp_path / "clip.pt")
    torch.save({"Combiner": forwards.combiner_weights()}, tmp_path / "combiner.pt")
    out = tmp_path / "mine"
    typed = [
        "convert",
        "clip4cir",
        str(tmp_path / "combiner.pt"),
        "--tower",
        str(tmp_path / "clip.pt"),
        "--out",
        str(out),
    ]
    code, said, _ = run(*typed, "--json")
    assert code == 0
    assert json.loads(said) == {"folder": str(out), "model": "FusionComposer"}
    Image.effect_noise((40, 32), 90).convert("RGB").save(tmp_path / "query.png")
    code, said, _ = run(
        "overlay",
        str(tmp_path / "query.png"),
        "make it red",
        "--model",
        str(out),
        "--out",
        str(tmp_path / "m.png"),
        "--json",
    )
    assert code == 0
    assert json.loads(said)[0]["score"] > 0
    code, _, err = run(*typed)
    assert code == 2
    assert "mine holds a model: choose another folder, or pass --overwrite" in err
