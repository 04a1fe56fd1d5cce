"""Methods side by side on one image, and maps of a model over a data set."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain import InputError, compare, evaluate_maps, explain
from mmgrad_explain.evaluation import MapKind, evaluate_triplets, folder_triplets
from mmgrad_explain.judging import candidate_name, map_makers

LAYERS = ("network.neck", "network.features")


@pytest.fixture
def coco(tmp_path, picture):
    """Two images, one with two texts, and boxes where they are right."""
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    Image.fromarray(np.full((30, 30, 3), 120, np.uint8)).save(tmp_path / "b.png")
    data = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [30, 8, 14, 12], "phrase": "make the square blue"},
            {"id": 2, "image_id": 1, "bbox": [0, 30, 10, 10], "phrase": "remove the star"},
            {"id": 3, "image_id": 2, "bbox": [0, 0, 10, 10], "phrase": "add a circle"},
        ],
    }
    (tmp_path / "phrases.json").write_text(json.dumps(data))
    return tmp_path / "phrases.json"


def test_maps_over_a_data_set_are_those_of_explain(tiny, coco, picture, same_maps):
    found = evaluate_maps(tiny, coco, methods=["gradcam", "layercam"])
    assert list(found.maps) == ["gradcam", "layercam"]
    assert found.maps["gradcam"]["energy"].isnan().sum() == 0
    made = map_makers(tiny, methods=["gradcam"])["gradcam"]
    texts = ["make the square blue", "remove the star"]
    heats = made([picture, picture], texts, None)
    alone = [explain(picture, text, model=tiny, method="gradcam").heatmap(normalize=False) for text in texts]
    same_maps(heats, alone)
    inside = heats[0][8:20, 30:44].sum() / heats[0].sum()
    assert float(found.maps["gradcam"]["energy"][0]) == pytest.approx(inside, abs=1e-4)


def test_triplets_have_the_figures_of_evaluate_triplets(tiny, tmp_path, picture):
    """Two ways to the same maps: of edits on the reference, and of what is added on the target."""
    mask = np.zeros((40, 60), np.uint8)
    mask[8:20, 30:44] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    picture.save(tmp_path / "a.png")
    picture.rotate(180).save(tmp_path / "b.png")
    edits = [
        ("make it red", "recolour", "both"),
        ("remove the star", "remove", "reference"),
        ("add it", "add", "target"),
    ]
    records = [
        {"id": str(i), "reference": "a.png", "target": "b.png", "mask": "mask.png", "class": "star", "text": text,
         "edit": edit, "mask_object_in": shown}
        for i, (text, edit, shown) in enumerate(edits)
    ]  # fmt: skip
    (tmp_path / "triplets.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = evaluate_maps(tiny, tmp_path, methods=["gradcam"]).maps["gradcam"]
    (other,) = evaluate_triplets(tiny, folder_triplets(tmp_path), kinds=[MapKind("shift", "gradcam")]).maps.values()
    for name, values in found.items():
        assert values.tolist() == pytest.approx(other[name].tolist(), abs=1e-4)


def test_maps_of_targets_are_on_their_pixels(tiny, picture):
    target = Image.new("RGB", (33, 21), "white")
    (heat,) = map_makers(tiny)["default"]([picture], ["make it red"], [target])
    assert heat.shape == (21, 33)


def test_each_layer_with_each_method(tiny):
    names = list(map_makers(tiny, methods=["gradcam", "hirescam"], layers=LAYERS))
    assert names == [f"{method} at {layer}" for method in ("gradcam", "hirescam") for layer in LAYERS]
    with pytest.raises(InputError, match="methods: 'gradcam' is given twice"):
        map_makers(tiny, methods=["gradcam", "gradcam"])


def mine(activation, gradient):
    return (activation * gradient).sum(1)


def test_names_of_candidates():
    assert candidate_name(None, None) == "default"
    assert candidate_name("gradcam", "a+b") == "gradcam at a+b"
    assert candidate_name(mine, None) == "mine"


def test_methods_side_by_side(tiny, picture):
    told = []
    found = compare(
        picture, "make it red", methods=["gradcam", mine], layers=["network.neck", "network.neck+network.features"],
        model=tiny, check=False, progress=lambda *what: told.append(what),
    )  # fmt: skip
    assert [one.name for one in found.maps] == [
        "gradcam at network.neck", "gradcam at network.neck+network.features",
        "mine at network.neck", "mine at network.neck+network.features",
    ]  # fmt: skip
    assert len(found.maps[1].explanation.layer_names) == 2
    assert told[-1] == ("maps", 4, 4)
    assert found.refused == {}


def test_a_method_that_refuses_the_model_is_kept_with_its_reason(tiny, picture):
    found = compare(picture, "make it red", methods=["gradcam", "nothing"], model=tiny, check=False)
    assert [one.explanation is not None for one in found.maps] == [True, False]
    assert "there is no 'nothing'" in found.refused["nothing"]
    with pytest.raises(InputError, match="nothing: method: there is no 'nothing'"):
        compare(picture, "make it red", methods=["nothing"], model=tiny)


def test_each_map_is_checked(tiny, picture):
    found = compare(picture, "make it red", methods=["gradcam", "hirescam"], model=tiny)
    for one in found.maps:
        assert -1 <= one.check.occlusion <= 1
        assert one.check.runs > 0
        assert one.reason == ""
    assert found.best() in found.maps


def test_the_maps_of_the_target(tiny, picture):
    target = Image.new("RGB", (30, 20), "white")
    found = compare(picture, "make it red", methods=["gradcam"], model=tiny, target=target, of_target=True, check=False)
    assert found.image.size == (30, 20)
    assert found.figure(side=100).width > 100


def test_one_method_needs_no_list(tiny, picture):
    found = compare(picture, "a", methods="gradcam", layers="network.neck", model=tiny, check=False)
    assert [one.name for one in found.maps] == ["gradcam at network.neck"]
    assert list(map_makers(tiny, methods="gradcam", layers="network.neck")) == ["gradcam at network.neck"]


def test_wrong_arguments(tiny, picture):
    with pytest.raises(TypeError, match="text must be one string, got list"):
        compare(picture, ["a"], methods=["gradcam"], model=tiny)
    with pytest.raises(InputError, match="methods: name at least one"):
        compare(picture, "a", methods=[], model=tiny)
    with pytest.raises(InputError, match="of_target: there is no target"):
        compare(picture, "a", methods=["gradcam"], model=tiny, of_target=True)
    with pytest.raises(InputError, match="methods: 'gradcam' is given twice"):
        compare(picture, "a", methods=["gradcam", "gradcam"], model=tiny)
