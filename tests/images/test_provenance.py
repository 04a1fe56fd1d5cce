"""A picture's file says where it came from, in any format and any script, and names no folder of the machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.provenance import (
    attach_provenance,
    describe_provenance,
    name_without_folders,
    provenance_of,
    read_provenance,
    without_folders,
)
from mmgrad_explain.images.saving import safe_save

if TYPE_CHECKING:
    from pathlib import Path

RECORD: dict[str, Any] = {
    "model": "scenes",
    "layers": ["fpn"],
    "method": "gradcam",
    "score_name": "shift",
    "maps": [
        {"text": "mach es röter 赤い ✓ 😀", "score": 0.5, "notes": ["unähnlich"], "check": {"verdict": "fails"}},
        {"text": "zwei", "score": 1.0, "notes": [], "check": None},
    ],
}


@pytest.fixture
def picture() -> Image.Image:
    return attach_provenance(Image.new("RGB", (20, 10), "red"), RECORD)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_every_format_gives_the_record_back(picture: Image.Image, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"map.{suffix}"
    safe_save(picture, file)
    assert read_provenance(file) == {"format": "mmgrad_explain.picture/1", **RECORD}
    assert Image.open(file).size == (20, 10)


def test_other_programs_show_a_line_in_words(picture: Image.Image, tmp_path: Path) -> None:
    safe_save(picture, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as opened:
        line = 'Maps of "mach es röter 赤い ✓ 😀"; "zwei": model scenes, gradcam at fpn'
        assert opened.info["Description"] == line == describe_provenance(RECORD)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_picture_of_something_else_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"photo.{suffix}"
    safe_save(Image.new("RGB", (8, 8)), file)
    with pytest.raises(InputError, match=r"photo\.\w+ does not say where it came from"):
        read_provenance(file)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text(json.dumps({"format": "mmgrad_explain.picture/1"}))
    with pytest.raises(InputError, match=r"a\.png cannot be read as a picture"):
        read_provenance(tmp_path / "a.png")


def test_a_foreign_comment_is_not_taken_for_a_record(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=b'{"format": "other"}')
    with pytest.raises(InputError, match="does not say"):
        read_provenance(tmp_path / "a.jpg")


def test_long_texts_are_cut_and_a_jpeg_counts_the_maps_that_it_has_no_room_for(tmp_path: Path) -> None:
    maps = [{"text": f"{number} " + "ä" * 3000} for number in range(20)]
    picture = attach_provenance(Image.new("RGB", (8, 8)), {"maps": maps})
    kept = provenance_of(picture)
    assert kept is not None
    assert {len(part["text"]) for part in kept["maps"]} == {2000}
    safe_save(picture, tmp_path / "a.jpg")
    found = read_provenance(tmp_path / "a.jpg")
    assert found["maps_left_out"] == 20 - len(found["maps"]) > 0
    assert found["maps"] == kept["maps"][: len(found["maps"])]
    safe_save(picture, tmp_path / "a.png")
    assert read_provenance(tmp_path / "a.png")["maps"] == kept["maps"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /home/ann/pictures/a.png: broken", "cannot read a.png: broken"),
        ("C:\\Users\\Ann\\models\\mine", "mine"),
        ("~/models/mine and ./other/one", "mine and one"),
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("the dog and/or cat", "the dog and/or cat"),
    ],
)
def test_folders_are_left_out_and_names_of_hubs_stay(text: str, expected: str) -> None:
    assert without_folders(text) == expected


def test_a_model_in_a_folder_keeps_its_last_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert name_without_folders("models/mine") == "mine"
    assert name_without_folders(str(tmp_path / "models" / "mine")) == "mine"
    assert name_without_folders("google/siglip-base") == "google/siglip-base"
