"""Formats of phrase sets: found by what is there, or named; and what cannot be read."""

import json

import pytest

from mmgrad_explain.data.phrases import PHRASE_FORMATS, find_format, read_phrases
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize("name", ["refcoco", "flickr", "openimages", "triplets"])
def test_a_folder_is_recognized(name, request):
    folder = request.getfixturevalue(name)
    assert find_format(folder) == {"flickr": "flickr30k"}.get(name, name)
    assert read_phrases(folder).name == find_format(folder)


def test_a_json_file_is_of_coco(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert find_format(tmp_path / "a.json") == "coco"


def test_what_is_none_or_several_has_to_be_named(tmp_path, triplets, refcoco):
    with pytest.raises(InputError, match="is none of the formats that are known: write NAME:ROOT, with NAME one of"):
        find_format(tmp_path / "images")
    (triplets / "refs(unc).p").write_bytes(b"")
    with pytest.raises(InputError, match="may be triplets or refcoco: write NAME:ROOT"):
        find_format(triplets)
    with pytest.raises(InputError, match="is not there"):
        find_format(tmp_path / "nothing")


def test_wrong_names_and_folders(tmp_path, triplets):
    with pytest.raises(InputError, match=r"no format 'refcocoo': did you mean 'refcoco'\?"):
        read_phrases(triplets, "refcocoo")
    with pytest.raises(InputError, match=r"images: .* is not a folder"):
        read_phrases(triplets, images=tmp_path / "nothing")
    for name in set(PHRASE_FORMATS) - {"coco"}:
        with pytest.raises(InputError, match="is not a folder: give the one that holds"):
            read_phrases(tmp_path / "nothing", name)


def test_what_nobody_thought_of_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"images": [{"id": [1]}], "annotations": []}))
    with pytest.raises(InputError, match=r"a\.json cannot be read as coco"):
        read_phrases(tmp_path / "a.json")
