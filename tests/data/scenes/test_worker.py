"""Scenes as files: NumPy stacks hold the same as single files, and are as safe when a run is broken off."""

import json
import re

import numpy as np
import pytest

from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.scenes import worker as scene_worker
from mmgrad_explain.data.scenes.build import build_scenes
from mmgrad_explain.data.scenes.set_options import SceneSetOptions
from mmgrad_explain.data.scenes.worker import write_scenes
from mmgrad_explain.data.set_files import IMAGE_FOLDERS
from mmgrad_explain.data.triplets import read_pixels, read_triplets
from mmgrad_explain.errors import InputError

FILES = SceneSetOptions(seed=3, size=32, relations=0.4)
STACKS = SceneSetOptions(seed=3, size=32, relations=0.4, format="npy")
NAMES = ("reference", "target", "mask", "target_mask")


def _content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _five_scenes_a_stack():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene_sets, "_SCENES_A_TASK", 5)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks") / "whole"
    build_scenes(folder, 42, STACKS)
    return folder


def test_the_same_as_in_files(whole, tmp_path):
    build_scenes(tmp_path, 42, FILES)
    stacks, files = ([t.to_record() for t in read_triplets(folder)] for folder in (whole, tmp_path))
    for stacked, single in zip(stacks, files, strict=True):
        for name in NAMES:
            found, wanted = stacked.pop(name), single.pop(name)
            assert re.fullmatch(r"(references|targets|masks)/00000(00|05|10)\.npy#\d+", found)
            mask = "mask" in name
            pixels = read_pixels(whole / found, mask=mask)
            assert np.array_equal(pixels, read_pixels(tmp_path / wanted, mask=mask))
            assert pixels.flags.owndata
        assert stacked == single
    names = {path.name for path in whole.rglob("*") if path.is_file()}
    assert names == {"triplets.jsonl", "manifest.json", "journal.jsonl", "0000000.npy", "0000005.npy", "0000010.npy"}


def test_the_stacks_are_plain_numpy_files(whole):
    references, targets, masks = (
        np.load(whole / folder / "0000005.npy", mmap_mode="r", allow_pickle=False) for folder in IMAGE_FOLDERS
    )
    assert (references.dtype, references.shape) == (np.uint8, (5, 32, 32, 3))
    assert (targets.dtype, targets.shape) == (np.uint8, (20, 32, 32, 3))
    assert masks.dtype == bool
    assert 20 < len(masks) < 40  # one where both are the same
    assert len(np.load(whole / "targets" / "0000010.npy")) == 4  # the last scene's, though the set ends within it


def test_fewer_are_the_beginning_of_more_and_resuming_leads_there(whole, tmp_path):
    build_scenes(tmp_path, 22, STACKS)
    before = _content(tmp_path)
    assert before["triplets.jsonl"].splitlines()[:20] == (whole / "triplets.jsonl").read_bytes().splitlines()[:20]
    larger = _content(whole)
    assert before["targets/0000000.npy"] == larger["targets/0000000.npy"]
    last = before["targets/0000005.npy"][128:]
    assert larger["targets/0000005.npy"][128:].startswith(last)
    build_scenes(tmp_path, 42, STACKS, resume=True)
    assert _content(tmp_path) == larger
    build_scenes(tmp_path, 22, STACKS, resume=True)
    assert _content(tmp_path) == before


def test_broken_off_in_the_middle_of_a_stack(whole, tmp_path, monkeypatch):
    def killed(self, *_):
        for stream in self._streams.values():
            stream.flush()
        raise KeyboardInterrupt

    write = scene_worker.write_scenes
    with monkeypatch.context() as patched:

        def second(out, options, start, stop):
            if start == 5:
                patched.setattr(scene_worker._Stacks, "__exit__", killed)  # nothing is tidied up
            return write(out, options, start, stop)

        patched.setattr(scene_sets, "write_scenes", second)
        with pytest.raises(KeyboardInterrupt):
            build_scenes(tmp_path, 42, STACKS)
    left = {path.name for path in (tmp_path / "targets").iterdir()}
    assert left == {"0000000.npy", ".0000005.tmp"}
    assert not (tmp_path / "triplets.jsonl").exists()
    assert build_scenes(tmp_path, 42, STACKS, resume=True).made == 24
    assert _content(tmp_path) == _content(whole)


def test_a_lost_stack_is_made_again(whole, tmp_path):
    build_scenes(tmp_path, 42, STACKS)
    (tmp_path / "masks" / "0000005.npy").unlink()
    assert build_scenes(tmp_path, 42, STACKS, resume=True).made == 20
    expected, got = _content(whole), _content(tmp_path)
    assert sorted(got.pop("journal.jsonl").splitlines()) == sorted(expected.pop("journal.jsonl").splitlines())
    assert got == expected


def test_a_set_that_is_made_smaller_never_names_what_is_gone(whole, tmp_path, monkeypatch):
    build_scenes(tmp_path, 42, STACKS)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(scene_sets, "write_scenes", stop)
        with pytest.raises(KeyboardInterrupt):
            build_scenes(tmp_path, 22, STACKS, resume=True)
    assert not (tmp_path / "triplets.jsonl").exists()
    assert not json.loads((tmp_path / "manifest.json").read_text())["complete"]
    build_scenes(tmp_path, 42, STACKS, resume=True)
    assert _content(tmp_path)["triplets.jsonl"] == _content(whole)["triplets.jsonl"]


def test_nothing_is_left_where_writing_fails(tmp_path):
    (tmp_path / "references").mkdir()
    with pytest.raises(InputError, match=r"cannot write to .*: No such file or directory: check its name, then"):
        write_scenes(tmp_path, STACKS, 0, 1)
    assert list((tmp_path / "references").iterdir()) == []
