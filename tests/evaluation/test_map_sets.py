"""Maps over a data set: figures by hand, texts about one image together, and what cannot be measured is named."""

import math

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.phrases import Box, PhraseSample, PhraseSet, Region
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation import evaluate_map_set

SIZES = {"a": (40, 30), "b": (30, 40), "c": (20, 20)}
PLACES = {"left": Box(0, 0, 8, 10), "right": Box(12, 0, 20, 10), "all": Box(0, 0, 99, 99)}


def sample(image, text, folder, **options):
    region = Region((PLACES[text.split()[0]],))
    return PhraseSample(f"{image}/{text}", text, text.split()[0], folder / f"{image}.png", image, region, **options)


@pytest.fixture
def data(tmp_path):
    for name, size in SIZES.items():
        Image.fromarray(np.full((size[1], size[0], 3), 180, np.uint8)).save(tmp_path / f"{name}.png")
    samples = [sample("a", "left", tmp_path), sample("b", "left", tmp_path), sample("a", "right", tmp_path)]
    return PhraseSet("coco", tmp_path, "class names", (*samples, sample("c", "right", tmp_path)))


def knowing(images, texts, _targets):
    """Maps that are bright exactly where the text is right."""
    return [
        PLACES[text.split()[0]].draw(image.height, image.width).astype(np.float32)
        for image, text in zip(images, texts, strict=True)
    ]


def blind(images, _texts, _targets):
    """Maps that show the left side whatever the text is."""
    return [PLACES["left"].draw(image.height, image.width).astype(np.float32) for image in images]


def test_figures_by_hand(data):
    found = evaluate_map_set(data, {"knowing": knowing, "blind": blind}, batch=2)
    assert found.maps["knowing"]["pointing"].tolist() == [1, 1, 1, 1]
    assert found.maps["knowing"]["iou"].tolist() == [1, 1, 1, 1]
    assert found.maps["blind"]["pointing"].tolist() == [1, 1, 0, 0]
    assert found.contrast_of.tolist() == [0, 2]
    assert found.contrast["knowing"].tolist() == [1, 1]
    assert found.contrast["blind"].tolist() == [1, 0]
    assert found.interval("random pixel", "contrast").mean == 0.5
    assert found.floors["random pixel"]["pointing"][0] == pytest.approx(80 / 1200)
    assert found.floors["image centre"]["pointing"].tolist() == [0, 0, 0, 0]
    assert set(found.pictures) == {0, 1, 2, 3}


def test_the_batch_changes_nothing(data):
    one, many = (evaluate_map_set(data, {"blind": blind}, batch=batch) for batch in (1, 99))
    for name, values in one.maps["blind"].items():
        assert values.tolist() == many.maps["blind"][name].tolist()
    assert one.contrast["blind"].tolist() == many.contrast["blind"].tolist()


def test_texts_about_one_image_go_together_with_one_image(data):
    calls = []

    def watching(images, texts, targets):
        calls.append((len({id(image) for image in images}), list(texts)))
        return knowing(images, texts, targets)

    evaluate_map_set(data, {"watching": watching}, batch=16)
    assert sorted(calls) == [(1, ["left", "right"]), (2, ["left", "right"])]


def test_what_was_added_is_judged_on_the_target(data, tmp_path):
    added = sample("a", "left of it", tmp_path, target=tmp_path / "b.png", on_target=True)
    sizes = []

    def make(images, texts, targets):
        sizes.append([image.size for image in targets])
        return knowing(targets, texts, None)

    found = evaluate_map_set(PhraseSet("triplets", tmp_path, "", (added,)), {"m": make})
    assert sizes == [[(30, 40)]]
    assert found.maps["m"]["pointing"].tolist() == [1]
    assert found.floors["random pixel"]["pointing"][0] == pytest.approx(80 / 1200)


def test_progress_is_told(data):
    told = []
    evaluate_map_set(data, {"m": blind}, batch=2, progress=lambda *what: told.append(what))
    assert told == [("samples", 2, 4), ("samples", 4, 4)]


def test_a_method_that_refuses_the_model_is_named_and_the_others_are_measured(data):
    def refusing(*_):
        raise InputError("this model has no attention")

    found = evaluate_map_set(data, {"refusing": refusing, "knowing": knowing})
    assert found.refused == {"refusing": "this model has no attention"}
    assert list(found.maps) == ["knowing"]
    assert set(found.contrast) == {"knowing", "random pixel"}
    with pytest.raises(InputError, match="refusing: this model has no attention"):
        evaluate_map_set(data, {"refusing": refusing})


def test_a_sample_that_a_method_refuses_is_named(data):
    def choosy(images, texts, targets):
        if any(image.size == SIZES["c"] for image in images):
            raise InputError("too small")
        return knowing(images, texts, targets)

    found = evaluate_map_set(data, {"choosy": choosy})
    assert found.failed == {"choosy": {"c/right": "too small"}}
    assert found.maps["choosy"]["pointing"][:3].tolist() == [1, 1, 1]
    assert math.isnan(found.maps["choosy"]["pointing"][3])
    assert found.interval("choosy", "pointing").known == 3


def test_what_cannot_be_read_is_left_out_and_named(data, tmp_path):
    (tmp_path / "b.png").write_bytes(b"damaged")
    found = evaluate_map_set(data, {"m": knowing})
    assert list(found.left_out) == ["b/left"]
    assert "damaged" in found.left_out["b/left"] or "image" in found.left_out["b/left"]
    assert found.interval("m", "pointing").known == 3
    for name in "ac":
        (tmp_path / f"{name}.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match="no sample can be judged; the first:"):
        evaluate_map_set(data, {"m": knowing})


def test_missing_images_stop_it_before_any_map(data, tmp_path):
    (tmp_path / "b.png").unlink()
    with pytest.raises(InputError, match="1 of 3 images of coco are missing"):
        evaluate_map_set(data, {"m": None})


def test_maps_of_another_size_are_refused(data):
    with pytest.raises(InputError, match=r"m: a map has shape \(2, 2\), its image \(30, 40\)"):
        evaluate_map_set(data, {"m": lambda images, *_: [np.ones((2, 2))] * len(images)})


def test_regions_that_hold_one_another_have_no_contrast(data, tmp_path):
    nested = PhraseSet("coco", tmp_path, "", (sample("a", "left", tmp_path), sample("a", "all", tmp_path)))
    found = evaluate_map_set(nested, {"m": knowing})
    assert len(found.contrast_of) == 0
    assert found.interval("m", "contrast").known == 0


def test_dead_maps_are_wrong_in_contrast(data):
    found = evaluate_map_set(data, {"m": lambda images, *_: [np.ones((i.height, i.width)) for i in images]})
    assert found.contrast["m"].tolist() == [0, 0]
    assert found.maps["m"]["dead"].tolist() == [1, 1, 1, 1]


def test_nothing_to_measure(data):
    with pytest.raises(InputError, match="needs samples, a maker of maps"):
        evaluate_map_set(data, {})
