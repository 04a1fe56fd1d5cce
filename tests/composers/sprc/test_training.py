"""BLIP-2's Q-Former is trained by a config, with negatives in a memory, kept features, and files for the server."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from cir_miniatures import MINIATURES, draw_images

from mmgrad_explain.composers import SprcComposer, load_composer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import ObjectiveOptions, RetrievalOptions
from mmgrad_explain.training.run import train

_FILE = Path(__file__).parents[1] / "huggingface" / "small_models.py"
_SPEC = importlib.util.spec_from_file_location("small_models", _FILE)
small_models = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_models)


LONGER = {**small_models.CONFIGS["blip-2"]["qformer_config"], "max_position_embeddings": 11}
small_models.CONFIGS["blip-2"] |= {"qformer_config": LONGER}  # of a copy of the module: texts stand beside a prompt


@pytest.fixture(scope="module")
def blip2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip2")
    small_models.save_model("blip-2", folder)
    return folder


def test_a_run_on_cirr(blip2, tmp_path):
    draw_images("cirr", MINIATURES["cirr"](tmp_path / "cirr"))
    listed = tmp_path / "cirr" / "image_splits" / "split.rc2.test1.json"
    names = json.loads(listed.read_text())
    names |= {f"test1-{number}-1-img0": next(iter(names.values())) for number in range(50)}  # the server wants 50
    listed.write_text(json.dumps(names))
    source = {"kind": "cir", "set": "cirr", "folder": str(tmp_path / "cirr"), "masks": ["segments"], "pictures": 2}
    config = config_from(
        {
            "steps": 3, "workers": 0, "log_every": 1, "tensorboard": False, "precision": "float32", "device": "cpu",
            "accumulate": 2, "sources": {"cirr": source}, "grounding": {"warm_start": 0},
            "retrieval": {"memory": 8, "temperature": 0.05, "prompt": 0.4, "align": 0.4},
            "optimizer": {"warmup": 1, "schedule": "linear", "lr": 1e-3},
            "evaluation": {"every": 3, "batches": 1, "maps": 0, "best": "cirr.val.r1", "submissions": ["cirr.test1"]},
            "model": {"path": str(blip2), "composer": "sprc", "pad_ratio": 1.25, "freeze": ["tower.model.vision_model"],
                      "cache": str(tmp_path / "features")},
        }
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert {"cirr.val.r1", "cirr.val.r_subset1", "pointing"} <= set(result.figures)
    made = json.loads((tmp_path / "run" / "submissions" / "cirr_test1_recall_subset.json").read_text())
    assert {len(names) for key, names in made.items() if key.isdigit()} == {3}
    before, after = SprcComposer.from_tower(blip2), load_composer(result.model)
    assert after.logit_scale.exp().item() == pytest.approx(20)
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert "learned" in changed
    assert after.pad_ratio == 1.25
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["prompt"] > 0 < line["align"] for line in logged if "retrieval" in line)
    assert not any(".vision_model." in name for name in changed)
    assert any((tmp_path / "features").rglob("*.safetensors"))


def test_what_needs_one_vector_of_an_image_is_refused(blip2):
    with pytest.raises(InputError, match=r"retrieval.change: an image is 3 vectors for this composer"):
        GroundedObjective(SprcComposer.from_tower(blip2), ObjectiveOptions(retrieval=RetrievalOptions(change=1.0)))
    with pytest.raises(InputError, match=r"retrieval.align: .* has no learned prompt, as BLIP-2's own Q-Former has"):
        GroundedObjective(load_composer("reference"), ObjectiveOptions(retrieval=RetrievalOptions(align=1.0)))
    with pytest.raises(InputError, match=r"model.pad_ratio is for a new method, or sprc: name it by model.composer"):
        ModelOptions(path=str(blip2), pad_ratio=1.25)
