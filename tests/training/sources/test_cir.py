"""Composed-retrieval sets as a source, on drawn miniatures in the published layouts."""

import json

import numpy as np
import pytest
from cir_miniatures import MINIATURES, draw_images, put
from PIL import Image
from safetensors import safe_open

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.padded_images import PaddedProcessor
from mmgrad_explain.composers.processor import SquareProcessor
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.training.run import train
from mmgrad_explain.training.sources.cir import CirSource, CirSourceOptions
from mmgrad_explain.training.sources.kinds import build_source
from mmgrad_explain.training.sources.scenes import SceneSourceOptions


@pytest.fixture
def make(tmp_path):
    """Draw a miniature and make a source of it."""

    def build(name, held_out=False, **options):
        root = tmp_path / name
        if not root.exists():
            draw_images(name, MINIATURES[name](root))
        options = {"pictures": 4, "edits": 2, "flip": 0.0, "mask_size": 16, "holdout": 0.0, **options}
        return CirSource(root, 32, CirSourceOptions(name, str(root), **options), held_out=held_out)

    return build


@pytest.mark.parametrize("name", ["cirr", "fashioniq", "shoes", "lasco", "fashion200k"])
def test_the_published_splits_are_trained_on_and_held_out(make, name):
    trained, held = (make(name, held_out=held, masks=("difference", "segments")) for held in (False, True))
    assert not set(trained._names) & set(held._names) or name == "lasco"  # whose miniature has one id for two images
    batch = trained.batch(0, 0)
    assert batch.references.shape[1:] == batch.targets.shape[1:] == (32, 32, 3)
    assert batch.reference_masks.dtype == np.float32
    assert batch.supervised.all()
    assert set(batch.edits) <= {"change"}
    assert {word for text in batch.texts for word in text.lower().replace(",", "").replace(".", "").split()} <= set(
        trained.vocabulary
    )
    again = trained.batch(0, 0)
    assert again.texts == batch.texts
    assert np.array_equal(again.targets, batch.targets)
    assert held.masks is not None
    assert list(held._data.queries) != list(trained._data.queries)


def test_images_are_fitted_as_the_model_fits_them(tmp_path):
    """Padded and cropped, as everywhere else; the mask goes with its image."""
    Image.new("RGB", (60, 20), (200, 30, 30)).save(tmp_path / "a.png")
    mask = np.zeros((20, 60), np.uint8)
    mask[:, 30:] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    put(tmp_path, {"triplets.jsonl": json.dumps({"reference": "a.png", "text": "in blue", "target": "a.png",
                                                 "mask": "m.png"})})  # fmt: skip
    own = SquareProcessor(len, 32)
    own.fit = "crop"
    options = {"mine": CirSourceOptions("jsonl", str(tmp_path), pictures=1, flip=0.0, holdout=0.0)}
    source = build_source(options, 32, fit_image=PaddedProcessor(own, 1.25).fit_image)
    batch = source.batch(0, 0)
    bars = (batch.references[0] == 0).all(-1)
    assert bars[:5].all()
    assert bars[-5:].all()
    assert not bars[12:20].any()
    assert batch.reference_masks[0, 12:20, :14].max() == 0
    assert batch.reference_masks[0, 12:20, 18:].min() > 0.9
    assert not batch.reference_masks[0][:5].any()


def test_soft_masks_lie_where_the_letterboxed_image_has_them(tmp_path):
    for name, size in (("a.png", (40, 20)), ("b.png", (10, 30))):
        Image.new("RGB", size, (200, 30, 30)).save(tmp_path / name)
    soft = np.zeros((20, 40), np.uint8)
    soft[:, 20:] = 102
    Image.fromarray(soft).save(tmp_path / "m.png")
    put(tmp_path, {"triplets.jsonl": json.dumps({"reference": "a.png", "text": "move it left", "target": "b.png",
                                                 "mask": "m.png"})})  # fmt: skip
    for flip in (0.0, 1.0):  # a text that names a side is never mirrored
        source = CirSource(tmp_path, 32, CirSourceOptions("jsonl", str(tmp_path), holdout=0.0, flip=flip))
        batch = source.batch(0, 0)
        expected = np.zeros((32, 32), np.float32)
        expected[8:24, 16:] = 0.4
        assert np.allclose(batch.reference_masks[0], expected, atol=1e-5)
        assert not batch.target_masks.any()
        assert (batch.edits, batch.mirrorable.tolist(), batch.supervised.tolist()) == (["change"], [False], [True])


def test_text_reference_and_target_alone_are_enough(make):
    source = make("jsonl")
    batch = source.batch(0, 0)
    assert min(batch.texts) in {"Brighter and no dog", "No dog and brighter", "make it red"}
    assert not batch.supervised.any()
    two = next(i for i, text in enumerate(batch.texts) if "dog" in text)
    assert {batch.texts[two], batch.paraphrases[two]} == {"No dog and brighter", "Brighter and no dog"}
    assert batch.mirrorable.all()
    ids = dict(zip(source._names, range(9), strict=False))
    assert len(ids) == 2
    right = source._ids  # c.png and a.jpg are both right for one query
    assert right["c.png"] == right["a.jpg"] != right["b.jpg"]
    assert set(batch.target_ids) <= set(right.values())


def test_a_mask_on_the_target_alone_is_an_addition(tmp_path, make):
    make("jsonl")
    Image.new("L", (8, 8), 255).save(tmp_path / "jsonl" / "m.png")
    record = {"reference": "a.jpg", "text": "add a dog", "target": "b.jpg", "target_mask": "m.png"}
    put(tmp_path / "jsonl", {"triplets.jsonl": json.dumps(record)})
    assert make("jsonl").batch(0, 0).edits == ["add"]


def test_images_are_mirrored_with_their_masks(make):
    plain, mirrored = (make("shoes", masks=("segments",), flip=flip).batch(0, 0) for flip in (0.0, 1.0))
    assert np.array_equal(mirrored.references, plain.references[:, :, ::-1])
    assert np.array_equal(mirrored.targets, plain.targets[:, :, ::-1])
    assert np.array_equal(mirrored.target_masks, plain.target_masks[:, :, ::-1])


def test_what_is_missing_is_refused_or_counted(make, tmp_path):
    make("fashioniq")
    (tmp_path / "fashioniq" / "images" / "Bdresstrain1.jpg").unlink()
    with pytest.raises(InputError, match=r"1 queries lack an image or their target, the first 0 of dress\.train"):
        make("fashioniq")
    with pytest.warns(MMGradWarning, match="1 queries without an image or a target and 0 without a word are left out"):
        source = make("fashioniq", missing="leave-out", masks=("segments",))
    assert source.batch(0, 0).supervised.all()  # the masks of the others are found at their own places
    with pytest.raises(InputError, match="none of 2 queries is held out"):
        make("jsonl", held_out=True)
    with pytest.raises(InputError, match="the targets of test1 are not public: choose another split"):
        make("cirr", split="test1")


def test_a_set_without_a_held_out_split_keeps_images_back(tmp_path):
    lines = [{"reference": f"{i}.png", "text": "red", "target": f"{(i + 1) % 20}.png"} for i in range(20)]
    put(tmp_path, {"triplets.jsonl": "\n".join(map(json.dumps, lines))})
    for i in range(20):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    options = CirSourceOptions("jsonl", str(tmp_path), holdout=0.3, pictures=20)
    trained, held = (CirSource(tmp_path, 16, options, held_out=held) for held in (False, True))
    shown = {query.reference for of in trained._groups.values() for *_, query in of}
    shown |= {query.target for of in trained._groups.values() for *_, query in of}
    assert held._names
    assert not shown & set(held._names)


def test_sets_are_mixed_with_scenes(make, tmp_path):
    make("shoes")
    shoes = CirSourceOptions("shoes", str(tmp_path / "shoes"), masks=("segments",), pictures=1)
    options = {"scenes": SceneSourceOptions(pictures=2, edits=2), "shoes": shoes}
    batch = build_source(options, 32, mix="batch").batch(0, 0)
    assert len(batch.references) == 3
    assert batch.reference_masks.dtype == np.float32
    assert batch.paraphrases == [""] * len(batch.texts)
    assert (batch.target_ids[:4] == -1).all()
    assert batch.target_ids[4] >= 0


def test_a_short_training_is_steered_by_the_benchmark(make, micro, tmp_path):
    make("shoes")
    source = {"kind": "cir", "set": "shoes", "folder": str(tmp_path / "shoes"), "masks": ["segments", "self"]}
    config = micro(
        steps=1, sources={"shoes": {**source, "pictures": 2}}, save_every=1,
        grounding={"warm_start": 0, "weightings": ["layercam"], "mirror": 1.0},
        evaluation={"every": 1, "maps": 0, "best": "shoes.eval.average"},
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert {"pointing", "r1", "shoes.eval.r10", "shoes.eval.average"} <= set(result.figures)
    assert (tmp_path / "shoes" / ".mmgrad-masks").is_dir()
    with safe_open(tmp_path / "run" / "checkpoints" / "best.safetensors", "pt") as best:
        assert best.metadata()["metric"] == "shoes.eval.average"
    assert load_composer(result.model).default_method == "layercam"  # the one that was trained
    (result.model / "maps.json").write_text('{"method": "layercame"}')
    with pytest.raises(InputError, match=r"maps\.json: method: there is no 'layercame'; did you mean 'layercam'"):
        load_composer(result.model)
