"""Features of a frozen encoder are kept on disk, and a training with them is the training without."""

import json

import numpy as np
import pytest
import torch

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


def test_a_training_with_a_cache_is_the_one_without(tmp_path, micro, clip_folder, triplet_folder):
    def run(name, **model):
        source = {"kind": "triplets", "folder": str(triplet_folder), "pictures": 2, "edits": 2, "holdout": 0.4}
        config = micro(
            model={"sizes": {}, "path": str(clip_folder), "combiner_width": 16, "freeze": ["clip"], **model},
            sources={"mine": source}, grounding={"warm_start": 0}, log_every=1, save_every=4,
        )  # fmt: skip
        train(config, tmp_path / name)
        return lines(tmp_path / name)

    without, cached = run("without"), run("cached", cache=str(tmp_path / "features"))
    again = run("again", cache=str(tmp_path / "features"))
    assert any("dice" in line for line in without)
    for one, *others in zip(without, cached, again, strict=True):
        for other in others:
            assert set(one) == set(other)
            for name, value in one.items():
                if isinstance(value, float) and "runtime" not in name and "per_second" not in name:
                    assert other[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_each_image_is_encoded_once(clip_folder, tmp_path):
    calls = []
    composer = counted(frozen(clip_folder), calls)
    cache = FeatureCache(composer, tmp_path, "float32", ["gradcam"])
    pixels = torch.randn(3, 3, 32, 32)
    first = cache(torch.cat([pixels, pixels[:1]]))
    assert calls == [2, 1, 3]  # two calls that check
    assert torch.equal(cache(pixels), first[:3])
    assert calls == [2, 1, 3]
    assert torch.equal(first[3], first[0])
    with cache.used():
        assert composer.encode_image is cache
    assert composer.encode_image is not cache
    image = pixels[:1].clone().requires_grad_()
    assert cache(image).requires_grad is True  # an image that is made of a map
    other = FeatureCache(frozen(clip_folder), tmp_path, "bf16", ["gradcam"])
    assert other.folder != cache.folder
    next(iter(cache.folder.glob("exact/*/*"))).write_bytes(b"no")
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
    patches = FusionComposer.from_tower(tmp_path / "clip", "cross-attention", width=8, heads=2)
    patches.target_layer = fusion.target_layer
    patches.tower.requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match=r"the explained layer .* which reads more of an image than one embedding"):
        FeatureCache(patches, tmp_path, "float32", ["gradcam"])(pixels)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"model.cache: .*file cannot be written"):
        FeatureCache(fusion, tmp_path / "file", "float32")


def clip_folder_with_processor(folder, tmp_path):
    import shutil

    from transformers import CLIPImageProcessor

    shutil.copytree(folder, tmp_path / "clip")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def fusion(clip_folder, tmp_path):
    """A method on a frozen CLIP, whose explained layer lies in the image tower."""
    composer = FusionComposer.from_tower(clip_folder_with_processor(clip_folder, tmp_path), "combiner", width=8)
    composer.tower.requires_grad_(requires_grad=False)
    return composer


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
            made[name], one, rtol=0, atol=share * largest + 1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(
    "grounding",
    [
        {"method": "gradcam", "target_side": {"recolour": 1.0, "remove": 1.0}, "share": 0.5},
        {"weightings": ("xgradcam", "hirescam"), "contrast": 1.0, "texts": 1.0, "mirror": 1.0},
        {"method": "hirescam", "hidden": 1.0, "score": "pair"},
    ],
    ids=["target and share", "contrast of texts", "hidden by the pair's"],
)
def test_kept_maps_of_a_layer_in_the_tower_train_as_its_own_do(fusion, tmp_path, grounding):
    batch = encode_batch(SceneSource(32, SceneSourceOptions(pictures=2, edits=3)).batch(3, 0), fusion.processor)
    expected = losses_and_gradients(fusion, batch, **grounding)
    assert float(expected["grounding"]) > 0
    calls = []
    counted(fusion, calls)
    first = losses_and_gradients(fusion, batch, tmp_path / "kept", **grounding)
    assert_close(first, expected, 1e-4)
    if "hidden" in grounding:  # masked images are new ones
        return
    before = len(calls)
    assert_close(losses_and_gradients(fusion, batch, tmp_path / "kept", **grounding), expected, 1e-4)
    assert len(calls) == before + 3  # the checks: two calls, and the first image's maps
