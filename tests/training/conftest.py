"""Small stand-ins: labelled photographs, a CLIP, a folder of triplets, options of a short run."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

NAMES = ["null", "coat", "bag", "skin", "shoes"]


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """Twelve pictures, 40x60: a blue coat, a green bag, skin, yellow shoes, in other places each time."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "photos").mkdir()
    (folder / "labels").mkdir()
    (folder / "labels.json").write_text(json.dumps(NAMES))
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(110, 150, (60, 40, 3), dtype=np.uint8)
        labels = np.zeros((60, 40), np.uint8)
        shift = int(rng.integers(0, 8))
        for label, color, rows, columns in (
            (1, (40, 60, 170), (14, 38), (6 + shift, 26 + shift)),
            (2, (40, 150, 60), (30, 42), (26 + shift // 2, 36 + shift // 2)),
            (3, (210, 170, 150), (4, 13), (12 + shift, 20 + shift)),
            (4, (220, 200, 60), (50, 58), (8 + shift, 24 + shift)),
        ):
            place = (slice(*rows), slice(*columns))
            pixels[place] = np.clip(np.array(color) + rng.integers(-20, 20, pixels[place].shape), 0, 255)
            labels[place] = label
        Image.fromarray(pixels).save(folder / "photos" / f"{number:03}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A random CLIP of two layers with a word tokenizer, saved as transformers saves one."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    words = ["<unk>", "<start>", "<end>", "make", "the", "it", "red", "blue", "coat", "bag", "star"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<start>", eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, **ids, "vocab_size": len(words), "max_position_embeddings": 12},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def triplet_folder(tmp_path_factory):
    """Six reference pictures, 40x30, with three edits each, as ``data edits`` writes them."""
    from mmgrad_explain.data.triplets import Triplet, write_triplets

    folder = tmp_path_factory.mktemp("triplets")
    rng = np.random.default_rng(1)
    triplets = []
    for photo in range(6):
        reference = rng.integers(100, 160, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(reference).save(folder / f"{photo}.png")
        for number, left in enumerate((2, 16, 30)):
            mask = np.zeros((30, 40), np.uint8)
            mask[6:22, left : left + 8] = 255
            target = reference.copy()
            target[mask > 0] = (200, 30, 30)
            name = f"{photo}-{number}"
            Image.fromarray(target).save(folder / f"{name}.png")
            Image.fromarray(mask).save(folder / f"{name}-mask.png")
            text = "make the left bag red" if photo == 0 else f"make the {('coat', 'bag', 'star')[number]} red"
            triplets.append(
                Triplet(
                    id=name, reference=f"{photo}.png", text=text, target=f"{name}.png", mask=f"{name}-mask.png",
                    class_name="bag", edit="recolour", source_image=f"{photo}",
                )
            )  # fmt: skip
    write_triplets(triplets, folder)
    return folder


@pytest.fixture(scope="session")
def small_sizes():
    """Sizes of the smallest reference network."""
    return {
        "image_size": 32,
        "text_width": 16,
        "text_layers": 1,
        "heads": 2,
        "feature_width": 16,
        "embed_dim": 8,
        "backbone_options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16], "stem_width": 8, "groups": 2},
    }


@pytest.fixture(scope="session")
def micro(small_sizes):
    """Options of the shortest run."""
    from mmgrad_explain.training.config_file import config_from

    def make(**changes):
        values = {
            "steps": 4,
            "workers": 0,
            "log_every": 2,
            "save_every": 2,
            "tensorboard": False,
            "precision": "float32",
            "device": "cpu",
            "model": {"sizes": small_sizes},
            "sources": {"scenes": {"pictures": 3, "edits": 2}},
            "optimizer": {"warmup": 1},
            "grounding": {"warm_start": 0.25},
            "evaluation": {"every": 2, "batches": 1, "maps": 2},
        }
        for name, value in changes.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) and name != "sources" else value
        return config_from(values)

    return make


@pytest.fixture(scope="session")
def whole_run(micro, tmp_path_factory):
    """A run in one go, and its config: a moving average, an attention term, label heads, boards, all of them soon."""
    from mmgrad_explain.training.run import train

    config = micro(
        steps=6, ema=0.9, tensorboard=True, grounding={"pooling": 0.1, "warm_start": 0.0},
        dense={"weight": 0.2, "first": 0.1},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(config, folder)
    return config, folder


@pytest.fixture(scope="session")
def resumed_run(whole_run, tmp_path_factory):
    """The same run, stopped in its fifth step and resumed from its second, as if the later checkpoints were damaged."""
    from mmgrad_explain.training.run import train
    from mmgrad_explain.training.trainer import GroundedTrainer

    config, _ = whole_run
    folder = tmp_path_factory.mktemp("runs") / "resumed"
    compute = GroundedTrainer.compute_loss

    def stop_at_fifth(self, model, inputs, **options):
        if int(inputs["step"]) == 4:
            raise KeyboardInterrupt
        return compute(self, model, inputs, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroundedTrainer, "compute_loss", stop_at_fifth)
        with pytest.raises(KeyboardInterrupt):
            train(config, folder)
    assert not (folder / "model").exists()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-4")
    (folder / "checkpoints" / "checkpoint-5").mkdir()  # as if it had been stopped while writing
    train(config, folder, resume=True)
    return folder


WANDB = """
'''What the package uses of Weights & Biases, with its signatures.'''
runs = []


class Image:
    def __init__(self, data_or_path, mode=None, caption=None, grouping=None, classes=None, boxes=None, masks=None,
                 file_type=None, normalize=True):
        self.image, self.caption = data_or_path, caption


class Run:
    def __init__(self, **asked):
        self.asked, self.logged, self.defined, self.exit_code = asked, [], {}, None
        self.id = asked["id"] or f"id{len(runs) + 1}"

    def define_metric(self, name, step_metric=None, step_sync=None, hidden=None, summary=None, goal=None,
                      overwrite=None):
        self.defined[name] = step_metric

    def log(self, data, step=None, commit=None):
        assert self.exit_code is None, "the run is finished"
        assert step is None, "another who logs to the run moves its own step on: an earlier one would be dropped"
        self.logged.append(data)

    def finish(self, exit_code=None, quiet=None):
        self.exit_code = exit_code


def init(entity=None, project=None, dir=None, id=None, name=None, notes=None, tags=None, config=None, resume=None):
    runs.append(Run(project=project, dir=dir, id=id, name=name, config=config, resume=resume))
    return runs[-1]
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """A stand-in for wandb, importable while the test runs."""
    import importlib
    import sys

    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield importlib.import_module("wandb")
    sys.modules.pop("wandb", None)


@pytest.fixture
def strange(tmp_path):
    """A folder with three images of noise and a file that is no image."""
    folder = tmp_path / "strange"
    folder.mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder
