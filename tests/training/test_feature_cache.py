"""Features of a frozen encoder are kept on disk, and a training with them is the training without."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.feature_cache import FeatureCache
from mmgrad_explain.training.models import starting_composer
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import GroundingOptions, ObjectiveOptions
from mmgrad_explain.training.run import train
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions


def frozen(clip_folder, **options):
    return starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16, freeze=("clip",), **options), ())


def counted(composer, calls):
    encode = type(composer).encode_image

    def count(pixels):
        calls.append(len(pixels))
        return encode(composer, pixels)

    composer.__dict__["encode_image"] = count
    return composer


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights_of(folder):
    return {
        f"{file.parent.name}/{name}": one
        for file in sorted(folder.rglob("*.safetensors"))
        for name, one in load_file(file).items()
    }


@pytest.mark.parametrize(
    "model",
    [
        {"combiner_width": 16, "freeze": ["clip"]},
        {"composer": "film", "composer_options": {"width": 8}, "freeze": ["tower"]},
    ],
    ids=["CLIP with a combiner", "film on two towers"],
)
def test_a_training_with_a_cache_is_the_one_without(tmp_path, micro, clip_folder, triplet_folder, model):
    """Losses and figures of every step, and the weights after them; maps are grounded from the first step on."""

    def run(name, **more):
        source = {"kind": "triplets", "folder": str(triplet_folder), "pictures": 2, "edits": 2, "holdout": 0.4}
        path = str(clip_folder_with_processor(clip_folder, tmp_path))
        config = micro(
            model={"sizes": {}, "path": path, **model, **more}, sources={"mine": source}, steps=3, log_every=1,
            save_every=3, grounding={"warm_start": 0, "mirror": 0.5}, evaluation={"every": 3},
        )  # fmt: skip
        train(config, tmp_path / name)
        return lines(tmp_path / name), weights_of(tmp_path / name / "model")

    (without, before), (cached, after) = run("without"), run("cached", cache=str(tmp_path / "features"))
    again, _ = run("again", cache=str(tmp_path / "features"))
    assert sum("dice" in line for line in without) == 3
    for one, *others in zip(without, cached, again, strict=True):
        for other in others:
            assert set(one) == set(other)
            for name, value in one.items():
                if isinstance(value, float) and "runtime" not in name and "per_second" not in name:
                    # noise of 1e-7 of the features changes the gradient of a nearly dark map as much
                    share = 3e-4 if name == "grad_norm" else 1e-5
                    assert other[name] == pytest.approx(value, rel=share, abs=1e-5), name
    assert before.keys() == after.keys()
    for name, one in before.items():
        torch.testing.assert_close(after[name], one, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    (features,) = (tmp_path / "features").iterdir()
    assert any(file.name.startswith("maps-") for file in features.iterdir())


def test_each_image_is_encoded_once(clip_folder, tmp_path):
    calls = []
    composer = counted(frozen(clip_folder), calls)
    cache = FeatureCache(composer, tmp_path, "float32", ["gradcam"])
    pixels = torch.randn(3, 3, 32, 32)
    first = cache(torch.cat([pixels, pixels[:1]]))
    assert calls == (before := [1, 1, 2, 1, 3])  # four calls that check
    assert first.shape == (4, 16)  # embeddings are enough
    assert torch.equal(cache(pixels), first[:3])
    assert calls == before
    assert torch.equal(first[3], first[0])
    with cache.used():
        assert composer.encode_image is cache
    assert composer.encode_image is not cache
    image = pixels[:1].clone().requires_grad_()
    assert cache(image).requires_grad is True  # an image that is made of a map
    other = FeatureCache(frozen(clip_folder), tmp_path, "bf16", ["gradcam"])
    assert other.folder != cache.folder
    next(iter(cache.folder.glob("exact-embeddings/*/*"))).write_bytes(b"no")
    with pytest.raises(InputError, match=r"model.cache: .* is damaged: delete it"):
        cache(pixels)


def test_what_cannot_be_kept_is_refused(clip_folder, tmp_path, fusion):
    pixels = torch.randn(2, 3, 32, 32)
    trained = starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16), ())
    with pytest.raises(InputError, match=r"the image encoder is trained, and its features change: freeze it"):
        FeatureCache(trained, tmp_path, "float32", ["gradcam"])(pixels)
    kept = FeatureCache(fusion, tmp_path, "float32")
    torch.testing.assert_close(kept(pixels).pooled, fusion.encode_image(pixels).pooled, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"the explained layer tower.* and maps by layercam cannot be kept"):
        FeatureCache(fusion, tmp_path, "float32", ["layercam"])(pixels)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"model.cache: .*file cannot be written"):
        FeatureCache(fusion, tmp_path / "file", "float32")


def test_label_heads_and_other_methods_have_the_features_and_their_maps_of_the_layer(clip_folder, tmp_path):
    pixels = torch.randn(2, 3, 32, 32)
    composer = frozen(clip_folder)
    for cache in (
        FeatureCache(composer, tmp_path, "float32", ["gradcam"], embeddings=False),
        FeatureCache(composer, tmp_path, "float32", ["layercam"]),
    ):
        assert cache(pixels).shape == (2, 17, 32)
        assert not cache.prepares


def test_adapters_in_the_towers_are_refused_before_the_first_step(micro, clip_folder, tmp_path, triplet_folder):
    pytest.importorskip("peft")
    config = micro(
        model={"sizes": {}, "path": str(clip_folder), "lora": {"rank": 2}, "cache": str(tmp_path / "features")},
        sources={
            "mine": {"kind": "triplets", "folder": str(triplet_folder), "pictures": 2, "edits": 2, "holdout": 0.4}
        },
    )
    with pytest.raises(
        InputError, match=r"image encoder is trained.*model\.lora\.rank to 0, or leave model\.cache out"
    ):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def clip_folder_with_processor(folder, tmp_path):
    import shutil

    from transformers import CLIPImageProcessor

    if (tmp_path / "clip").exists():
        return tmp_path / "clip"
    shutil.copytree(folder, tmp_path / "clip")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def on_towers(clip_folder, tmp_path):
    """Makes a method on a frozen CLIP, whose explained layer lies in the image tower."""

    def make(method, **options):
        folder = clip_folder_with_processor(clip_folder, tmp_path)
        composer = FusionComposer.from_tower(folder, method, width=8, **options)
        composer.tower.requires_grad_(requires_grad=False)
        return composer

    return make


@pytest.fixture
def fusion(on_towers):
    return on_towers("combiner")


def losses_and_gradients(composer, batch, folder=None, precision="float32", **grounding):
    """The losses of a batch, and the gradients of what is trained: of the composer as it is, or with a cache."""
    options = ObjectiveOptions(GroundingOptions(**grounding), precision=precision)
    objective = GroundedObjective(composer.train(), options)
    if folder is not None:
        objective.passes.cache = FeatureCache(composer, folder, precision, objective.passes.methods)
    objective.zero_grad()
    torch.manual_seed(0)  # of the dropout
    losses = objective(batch, np.random.default_rng(0))
    losses.total.backward()
    trained = {name: one.grad for name, one in composer.named_parameters() if one.grad is not None}
    return {"grounding": losses.grounding.detach(), **losses.figures, **trained}


def assert_close(made, expected, share):
    assert made.keys() == expected.keys()
    for name, one in expected.items():
        largest = float(one.abs().max())
        torch.testing.assert_close(
            made[name], one, rtol=0, atol=share * largest + 1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


MIRRORED = {"weightings": ("xgradcam", "hirescam"), "contrast": 1.0, "texts": 1.0, "mirror": 1.0}


@pytest.mark.parametrize(
    ("method", "grounding"),
    [
        ("combiner", {"method": "gradcam", "target_side": {"recolour": 1.0, "remove": 1.0}, "share": 0.5}),
        ("tirg", MIRRORED),
        ("combiner", {"method": "hirescam", "hidden": 1.0, "score": "pair"}),
        ("inversion", {"method": "gradcam"}),
        ("film", MIRRORED),
        ("tirg-spatial", {"weightings": ("gradcam", "xgradcam"), "score": "pair"}),
        ("cross-attention", {"weightings": ("gradcam", "hirescam")}),
        ("qformer", {"weightings": ("gradcam", "hirescam")}),
    ],
    ids=lambda one: one if isinstance(one, str) else "-".join(one),
)
def test_kept_maps_of_a_layer_in_the_tower_train_as_its_own_do(on_towers, tmp_path, method, grounding):
    composer = on_towers(method, **({"heads": 2} if method in {"cross-attention", "qformer"} else {}))
    assert_trained_alike(composer, tmp_path, grounding)


@pytest.mark.parametrize("grounding", [{**MIRRORED, "hidden": 1.0}, {"method": "gradcam", "score": "pair"}])
def test_kept_maps_of_a_composer_in_stages_train_as_its_own_do(clip_folder, tmp_path, grounding):
    assert_trained_alike(frozen(clip_folder), tmp_path, grounding)


def assert_trained_alike(composer, tmp_path, grounding):
    """Losses and gradients are those without a cache, when it is empty and when it is full."""
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=2, edits=3)).batch(3, 0), composer.processor)
    expected = losses_and_gradients(composer, batch, **grounding)
    assert float(expected["grounding"]) > 0
    counted(composer, calls := [])
    assert_close(losses_and_gradients(composer, batch, tmp_path / "kept", **grounding), expected, 1e-5)
    if "hidden" in grounding:  # masked images are new ones
        return
    before = len(calls)
    assert_close(losses_and_gradients(composer, batch, tmp_path / "kept", **grounding), expected, 1e-5)
    assert len(calls) <= before + 4  # the checks


@pytest.mark.parametrize("in_stages", [False, True], ids=["on two towers", "in stages"])
def test_maps_are_kept_in_half_precision_where_not_everything_is_exact(fusion, clip_folder, tmp_path, in_stages):
    composer = frozen(clip_folder) if in_stages else fusion
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=2, edits=3)).batch(3, 0), composer.processor)
    expected = losses_and_gradients(composer, batch, precision="bf16", method="gradcam")
    made = losses_and_gradients(composer, batch, tmp_path, "bf16", method="gradcam")
    assert_close(made, expected, 0.05)
    sizes = {precision: size_of_maps(tmp_path / precision, composer, precision) for precision in ("float32", "bf16")}
    assert sizes["bf16"] < 0.6 * sizes["float32"]


def size_of_maps(folder, composer, precision):
    cache = FeatureCache(composer, folder, precision, ["gradcam"] * 4)
    _, kept = cache.read(torch.randn(1, 3, 32, 32))
    kept.store.read(kept.keys, lambda _: kept.pixels, torch.device("cpu"))
    (file,) = folder.glob("*/maps-*/*/*")
    return file.stat().st_size
