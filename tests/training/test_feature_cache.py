"""Features of a frozen encoder are kept on disk, and a training with them is the training without."""

import json

import pytest
import torch

from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.feature_cache import FeatureCache
from mmgrad_explain.training.models import starting_composer
from mmgrad_explain.training.run import train


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
    cache = FeatureCache(composer, tmp_path, "float32", maps=True)
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
    other = FeatureCache(frozen(clip_folder), tmp_path, "bf16", maps=True)
    assert other.folder != cache.folder
    next(iter(cache.folder.glob("exact/*/*"))).write_bytes(b"no")
    with pytest.raises(InputError, match=r"model.cache: .* is damaged: delete it"):
        cache(pixels)


def test_what_cannot_be_kept_is_refused(clip_folder, tmp_path):
    pixels = torch.randn(2, 3, 32, 32)
    trained = starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16), ())
    with pytest.raises(InputError, match=r"the image encoder is trained, and its features change: freeze it"):
        FeatureCache(trained, tmp_path, "float32", maps=True)(pixels)
    fusion = FusionComposer.from_tower(clip_folder_with_processor(clip_folder, tmp_path), "tirg", width=8)
    fusion.tower.requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match=r"the explained layer tower.* lies in the image encoder of FusionComposer"):
        FeatureCache(fusion, tmp_path, "float32", maps=True)(pixels)
    kept = FeatureCache(fusion, tmp_path, "float32", maps=False)
    torch.testing.assert_close(kept(pixels).pooled, fusion.encode_image(pixels).pooled, rtol=1e-4, atol=1e-5)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"model.cache: .*file cannot be written"):
        FeatureCache(fusion, tmp_path / "file", "float32", maps=False)


def clip_folder_with_processor(folder, tmp_path):
    import shutil

    from transformers import CLIPImageProcessor

    shutil.copytree(folder, tmp_path / "clip")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"
