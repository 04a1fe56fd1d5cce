"""What the benchmarks on photographs count and write."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.detections import read_detections
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet


@pytest.fixture
def benchmark(monkeypatch):
    """A module of the benchmarks, by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] in {"photographs", "testbed"}]:
        del sys.modules[name]


def triplet(edit, text):
    return PhotoTriplet("0", None, None, text, np.ones((4, 4), bool), edit, "0")


@pytest.mark.parametrize(
    ("edit", "text", "noun", "look"),
    [
        ("recolour", "make the coat violet", "coat", "purple"),
        ("pattern", "add polka dots to the jeans", "jeans", "dotted"),
        ("darken", "make the bag darker", "bag", "darker"),
        ("gray", "take the color out of the scarf", "scarf", "gray"),
    ],
)
def test_a_free_text_names_the_same_thing_and_look(benchmark, edit, text, noun, look):
    from mmgrad_explain.data.edits.templates import SIMPLE, TEMPLATES
    from mmgrad_explain.training.sources.photo_texts import FREE

    word_freely = benchmark("photographs.wording").word_freely
    taught = {one for table in (TEMPLATES, SIMPLE, FREE) for forms in table.values() for one in forms}
    for seed in range(8):
        (worded,) = word_freely([triplet(edit, text)], [noun], seed)
        assert noun in worded.text
        assert look in worded.text
        assert worded.mask is not None
        assert worded.text.replace(look, "{look}").replace(noun, "{noun}") not in taught


def test_a_kind_without_free_texts_is_left_out(benchmark):
    assert benchmark("photographs.wording").word_freely([triplet("swap", "swap them")], ["coat"], 0) == []


def test_known_words_are_counted_by_running_words(benchmark, tmp_path):
    wording = benchmark("photographs.wording")
    file = tmp_path / "captions.json"
    file.write_text(json.dumps([{"captions": ["make the star red", "zebra zebra"]}]))
    known = wording.find_known_words(load_composer("reference"), wording.read_captions([file]))
    assert known.share == pytest.approx(4 / 6)
    assert known.in_vocabulary == pytest.approx(4 / 6)
    assert known.whole == 0.5
    assert known.missing == [("zebra", 2)]


def test_tables_go_between_the_markers_and_nowhere_else(benchmark, tmp_path):
    card = benchmark("photographs.card")
    page = tmp_path / "README.md"
    page.write_text(f"before\n{card.begin('photos.py')}\nold\n{card.END}\nafter\n")
    card.write_tables(page, "photos.py", "new")
    assert page.read_text() == f"before\n{card.begin('photos.py')}\n\nnew\n\n{card.END}\nafter\n"
    with pytest.raises(InputError, match="no place"):
        card.write_tables(page, "search.py", "new")


def test_a_sheet_needs_a_file_and_a_text_a_line(benchmark, tmp_path):
    read_cases = benchmark("contact_sheet").read_cases
    lines = tmp_path / "sentences.jsonl"
    lines.write_text('{"file": "a.png", "text": "make it red"}\n\n{"file": "b.png"}\n')
    with pytest.raises(InputError, match="line 3"):
        read_cases(lines)
    lines.write_text('{"file": "a.png", "text": "make it red", "right": "the star"}\n')
    (case,) = read_cases(lines)
    assert (case.file, case.right) == (tmp_path / "a.png", "the star")


def test_a_set_to_choose_options_on_shows_no_held_out_photograph(benchmark, tmp_path):
    edited, pairs = benchmark("photographs.edited"), benchmark("photographs.pairs")
    folder = edited.generated_folder(tmp_path / "photos", 30, lacking=0.4)
    photographs = edited.labelled([folder], config="clothing", holdout=0.3, plain=True)
    pairs.write_set(tmp_path / "set", photographs, 2, seed=0)
    pairs.write_set(tmp_path / "inner", photographs, 2, seed=0, inner=0.4)
    trained, inner_trained, inner_held = (
        (tmp_path / file).read_text().split()
        for file in ("set/gallery.train.txt", "inner/gallery.train.txt", "inner/gallery.val.txt")
    )
    assert sorted(inner_trained + inner_held) == sorted(trained)
    assert inner_trained
    assert inner_held
    for name in ("set", "inner"):
        for queries in read_cir("jsonl", tmp_path / name).queries.values():
            assert len({(query.reference, query.target) for query in queries}) == len(queries)


def test_boxes_are_written_once_for_each_word(benchmark, tmp_path):
    detector = SimpleNamespace(names=["null", "bag", "hat"], find=lambda pixels: [([0, 0, *pixels.shape[:2]], 0.5, 1)])
    Image.new("RGB", (4, 6)).save(tmp_path / "a.png")
    benchmark("photographs.detector").write_detections(
        tmp_path / "boxes.json", [tmp_path / "a.png"], detector, {"bag": ["handbag"]}
    )
    found = read_detections(tmp_path / "boxes.json").found["a.png"]
    assert [(one.box, one.score, one.label) for one in found] == [
        ((0, 0, 6, 4), 0.5, "bag"), ((0, 0, 6, 4), 0.5, "handbag")
    ]  # fmt: skip


def test_a_frozen_trunk_runs_once_for_each_image(benchmark):
    trunk = PlainMobileNetV2(0.35, (1, 2)).eval().requires_grad_(requires_grad=False)
    runs = []
    trunk.conv_stem.register_forward_hook(lambda _module, inputs, _output: runs.append(len(inputs[0])))
    images = torch.randn(3, 3, 32, 32)
    expected = trunk(images)
    with benchmark("testbed.remembered").remembered_trunks():
        first, again = trunk(images[[0, 1, 0]]), trunk(images)
        assert runs == [3, 2, 1]
        trunk.requires_grad_()
        assert trunk(images)[0].requires_grad
    for maps, one, other in zip(expected, first, again, strict=True):
        torch.testing.assert_close(one, maps[[0, 1, 0]])
        torch.testing.assert_close(other, maps)
    assert trunk(images)[0].requires_grad


def test_a_set_of_pairs_is_read_in_both_layouts(benchmark, tmp_path):
    edited, pairs = benchmark("photographs.edited"), benchmark("photographs.pairs")
    folder = edited.generated_folder(tmp_path / "photos", 20, lacking=0.4)
    photographs = edited.labelled([folder], config="clothing", holdout=0.3, plain=True)
    found = pairs.write_set(tmp_path / "set", photographs, 4, seed=0)
    as_published = read_cir("fashioniq", tmp_path / "set", categories=["dress"])
    as_records = read_cir("jsonl", tmp_path / "set")
    assert not [one for one in as_published.findings if one.level == "needed"]
    names = {split: set(as_published.images.galleries[f"dress.{split}"]) for split in found}
    assert not names["train"] & names["val"]
    kinds = set()
    for split, count in found.items():
        queries, records = as_published.queries[f"dress.{split}"], as_records.queries[split]
        assert len(queries) == len(records) == count > 0
        for query, record in zip(queries, records, strict=True):
            assert query.captions == record.captions
            assert (f"images/{query.reference}.jpg", f"images/{query.target}.jpg") == (record.reference, record.target)
            assert {query.reference, query.target} <= names[split]
            kinds.add((record.mask is None, record.target_mask is None))
            for mask in (record.mask, record.target_mask):
                assert mask is None or np.asarray(Image.open(tmp_path / "set" / mask)).max() == 255
    assert kinds == {(False, False), (True, False), (False, True)}  # changed, added, removed
