"""Notes belong to samples: what is said of one is shown with no other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.composers.familiar_images import describe_images
from mmgrad_explain.composers.familiarity import fit_familiarity
from mmgrad_explain.gallery.results import Retrieval, RetrievalMaps
from mmgrad_explain.notes import Note, join_notes
from mmgrad_explain.web.explain_request import ExplainRequest
from mmgrad_explain.web.explanations import explain_request
from mmgrad_explain.web.models import Models

UNLIKE = "the image is unlike what the model was trained on (one red square): do not trust the map; take another"
UNKNOWN = "'make the frumious red': the model does not know 'frumious'; left out, read as 'make the red'"
TEXTS = ["make it red", "make the frumious red"]


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """A model that finds black pictures strange."""
    import shutil

    from mmgrad_explain.composers.load import load_composer

    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("notes") / "model")
    composer = load_composer(folder)
    near = describe_images(composer, [usual()], composer.described_layers)
    near = near + 1e-2 * torch.randn(200, near.shape[1])
    words = composer.described_layers, "one red square", "take another"
    fit_familiarity({"squares": (near[:100], near[100:])}, *words).save(folder)
    return folder


def usual():
    picture = Image.new("RGB", (60, 40), (90, 90, 90))
    picture.paste((220, 40, 40), (10, 10, 30, 30))
    return picture


def texts(notes):
    return [str(note) for note in notes]


class TestJoining:
    def test_the_same_of_several_samples_is_one(self):
        one, two = Note("cut-text", "cut", (2,)), Note("cut-text", "cut", (0,))
        other = Note("caution", "cut")
        assert join_notes([one, other, two], 4) == (Note("cut-text", "cut", (0, 2)), other)
        assert join_notes([one, two, Note("cut-text", "cut", (1,))], 3) == (Note("cut-text", "cut"),)
        assert join_notes([one, Note("cut-text", "cut")], 4) == (Note("cut-text", "cut"),)

    def test_names_stand_before_what_is_not_of_all(self):
        names = ["a.jpg", "b.jpg", "b.jpg", "c.jpg"]
        assert Note("caution", "mind", (1, 2, 3)).text_with_names(names) == "b.jpg, c.jpg: mind"
        assert Note("caution", "mind").text_with_names(names) == "mind"

    def test_a_string_is_no_note(self):
        with pytest.raises(TypeError, match=r"a note is a mmgrad_explain\.Note\(kind, text, samples\), not str"):
            join_notes(["cut"], 1)


def test_of_a_picture(folder):
    found = explain([usual(), Image.new("RGB", (60, 40)), usual()], "make it red", model=folder)
    assert found.notes == (Note("unfamiliar-image", UNLIKE, (1,)),)
    assert [texts(found.notes_of(index)) for index in range(3)] == [[], [UNLIKE], []]
    assert [UNLIKE in found.in_words(index) for index in range(3)] == [False, True, False]
    first, second, third = found._repr_html_().split("What does this map mean?")[:3]
    said = f"note: {UNLIKE}"
    assert [said in part for part in (first, second, third)] == [False, True, False]


def test_of_a_text(folder):
    """On either way: one picture that is encoded once, and a text for each picture."""
    for pictures in (usual(), [usual(), usual()]):
        found = explain(pictures, TEXTS, model=folder)
        assert found.notes == (Note("unknown-words", UNKNOWN, (1,)),)
        assert [UNKNOWN in found.in_words(index) for index in (0, 1)] == [False, True]
    strange = explain(Image.new("RGB", (60, 40)), TEXTS, model=folder)
    assert [texts(strange.notes_of(index)) for index in (0, 1)] == [[UNLIKE], [UNKNOWN, UNLIKE]]


def test_in_a_saved_folder(folder, tmp_path):
    explain(usual(), TEXTS, model=folder).save(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved" / "manifest.json").read_text())
    assert manifest["notes"] == [{"kind": "unknown-words", "text": UNKNOWN, "samples": [1]}]


def test_on_the_page(folder):
    shown = explain_request(ExplainRequest(usual(), tuple(TEXTS), str(folder)), Models((str(folder),)))
    assert [one["notes"] for one in shown["tiles"]] == [[], [UNKNOWN]]
    assert [one["notes"] for one in shown["data"]["maps"]] == [[], [UNKNOWN]]


def test_of_the_command(folder, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual().save("a.png")
    Image.new("RGB", (60, 40)).save("b.png")
    command = ["overlay", "a.png", "b.png", "make the frumious red", "--model", folder, "--json", "--in-words"]
    code, out, err = run(*command)
    first, second = json.loads(out)
    assert code == 0
    assert (first["notes"], second["notes"]) == ([UNKNOWN], [UNKNOWN, UNLIKE])
    assert UNLIKE not in first["in_words"]
    assert err.splitlines() == [f"note: {UNKNOWN}", f"note: b.png: {UNLIKE}"]


def test_of_how_a_picture_was_read(folder, tmp_path):
    twelve = np.linspace(0, 4095, 2400).astype(np.uint16).reshape(40, 60)
    usual().save(tmp_path / "stack.tif", save_all=True, append_images=[usual()])
    found = explain([usual(), tmp_path / "stack.tif"], "make it red", [usual(), twelve], model=folder)
    read = [note for note in found.notes if note.kind in ("first-image", "image-values")]
    assert read == [
        Note("first-image", "the first of 2 images in the file is used", (1,)),
        Note(
            "image-values",
            "target: the image's 16-bit values need only 12 bits and were scaled by their range, 0 to 4095",
            (1,),
        ),
    ]


def test_of_a_phrase(folder, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual().save("a.png")
    text = "make the red circle left of the frumious ring blue"
    code, out, err = run("overlay", "a.png", text, "--model", folder, "--json", "--phrases")
    (result,) = json.loads(out)
    assert code == 0
    assert [len(one["notes"]) for one in (result, *result["phrases"])] == [1, 0, 1]
    assert 'note: "left of the frumious ring blue": ' in err


def test_of_a_hit(folder):
    """A flat map of one hit is said of no other, and what is said of the query is not said again."""
    query = explain(Image.new("RGB", (60, 40)), "make it red", model=folder)
    hits = explain([Image.new("RGB", (60, 40))] * 2, "make it red", [usual(), usual()], model=folder)
    hits = replace(hits, notes=(*hits.notes, Note("flat-map", "the map of call 1 is flat", (1,))))
    found = Retrieval(usual(), "make it red", (), (Note("few-hits", "the gallery is small"),))
    maps = RetrievalMaps(found, query, {1: (hits, 0), 2: (hits, 1)})
    assert texts(maps.notes) == ["the gallery is small", UNLIKE]
    assert [texts(maps.notes_of(rank)) for rank in (1, 2, 3)] == [[], ["the map of call 1 is flat"], []]
