"""What a reader does with a GPU, where there is one: the CPU's maps, by every door, and training.

The method itself is held to the CPU on every device in tests/attention; here are the parts around it.
"""

import pytest
import torch
from PIL import Image

from mmgrad_explain import explain, load_composer
from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.embedding import embed_images, embed_query
from mmgrad_explain.composers.stand_ins.build import KINDS, stand_in
from mmgrad_explain.data.scenes.scene import scenes

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def scene():
    return next(scenes(777, 1, size=224, start=2))


@pytest.fixture(scope="module")
def picture(scene):
    return Image.fromarray(scene.reference)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: stand_in(kind, root / kind) for kind in KINDS} | {"reference": "reference", "clothing": "clothing"}


def same(found, expected, share=1e-3):
    assert all(one.device.type == "cuda" for one in (*found.calls, found.score))
    for one, other in zip(found.calls, expected.calls, strict=True):
        assert other.max() > 0
        assert (one.cpu() - other).abs().max() <= share * other.max()
    torch.testing.assert_close(found.score.cpu(), expected.score, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, "reference", "clothing"])
@pytest.mark.parametrize("count", [1, 3])
def test_explain(folders, scene, kind, count):
    composer = load_composer(folders[kind])
    texts = ["make the dress red", "remove the small star", "a ring"][:count]
    options = {"answer": "a red star"} if kind == "llava" else {}
    expected = explain(scene.reference, texts, model=composer, **options)
    same(explain(scene.reference, texts, model=composer, device="cuda", **options), expected)
    assert next(composer.parameters()).device.type == "cpu"
    composer.to("cuda")
    same(explain(scene.reference, texts, model=composer, **options), expected)
    assert next(composer.parameters()).device.type == "cuda"


@pytest.mark.parametrize("kind", ["clip", "siglip", "blip"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights(folders, scene, kind, dtype):
    composer = load_composer(folders[kind])
    expected = explain(scene.reference, "a small star", model=composer)
    found = explain(scene.reference, "a small star", model=composer.to("cuda", dtype))
    assert found.maps.dtype == torch.float32
    top = expected.maps.max()
    assert (found.maps.cpu() - expected.maps).abs().max() <= 0.15 * top


def test_with_a_target_and_words(scene):
    triplet = scene.triplets[0]
    both = [
        explain(scene.reference, triplet.text, triplet.target, "reference", device=device, words=True)
        for device in ("cpu", "cuda")
    ]
    same(both[1], both[0])
    for one, other in zip(both[0].words[0], both[1].words[0], strict=True):
        assert one.text == other.text
        assert one.scaled == pytest.approx(other.scaled, abs=2e-3)


def test_what_a_result_offers(scene, tmp_path):
    found = explain(scene.reference, scene.triplets[0].text, model="reference", device="cuda")
    assert found.overlay().size[0] > 2 * 224
    assert found.in_words().strip()
    assert found.to("cpu").maps.device.type == "cpu"
    assert (found.save(tmp_path / "saved") / "maps.npz").is_file()


@pytest.mark.parametrize("kind", ["reference", "clip"])
def test_embeddings(folders, picture, kind):
    composer = load_composer(folders[kind])
    expected = embed_images(composer, [picture]), embed_query(composer, picture, "a star")[0]
    composer.to("cuda")
    found = embed_images(composer, [picture]), embed_query(composer, picture, "a star")[0]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(one).cpu(), torch.as_tensor(other), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training(tmp_path, precision):
    out = tmp_path / "run"
    settings = ["steps=12", "evaluation.every=12", "evaluation.batches=1", f"precision={precision}"]
    arguments = [part for one in settings for part in ("--set", one)]
    assert main(["train", "tiny", "--out", str(out), *arguments]) == 0
    assert (out / "model" / "model.safetensors").is_file()
    made = load_composer(out / "model")
    assert explain(next(scenes(5, 1, size=64)).reference, "make it red", model=made).maps.isfinite().all()


def test_the_command(scene, picture, tmp_path):
    scene_file = tmp_path / "scene.png"
    picture.save(scene_file)
    out = tmp_path / "where.png"
    assert main(["overlay", str(scene_file), scene.triplets[0].text, "--device", "cuda", "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
