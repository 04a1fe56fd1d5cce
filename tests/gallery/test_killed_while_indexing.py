"""Indexing that is killed by SIGKILL, and the next run that continues it."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.embedding import embed_images
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.store import GalleryStore


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(6):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 20, 3), dtype=np.uint8)).save(root / f"{i}.png")
    return root


def check_vectors(gallery):
    """Every row has the embedding of what is in its file."""
    known = gallery._store.rows()
    vectors = gallery._store.vectors(list(known))
    assert set(vectors) == set(known)
    for path, vector in vectors.items():
        with Image.open(path) as image:
            expected = embed_images(gallery.composer, [image])[0]
        torch.testing.assert_close(torch.from_numpy(vector), expected, atol=1e-5, rtol=0)


KILLED = """
import os, signal, sys, threading, time
import torch
torch.set_num_threads(1)
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.store import GalleryStore

place, model, folder, when = sys.argv[1:]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
put, calls = GalleryStore.put, []

def killed(self, entries, vectors):
    calls.append(entries)
    if when == "while writing" and len(calls) == 3:
        threading.Timer(0.0005, die).start()
        for _ in range(2000):
            put(self, entries, vectors)
    put(self, entries, vectors)
    if when == "after writing" and len(calls) == 2:
        die()

GalleryStore.put = killed
Gallery(place, model, create=True).index([folder], batch=2)
"""


@pytest.mark.parametrize("when", ["after writing", "while writing"])
def test_kill_9_and_go_on(pictures, tmp_path, tiny_folder, when):
    place = tmp_path / "mine.db"
    arguments = [sys.executable, "-c", KILLED, place, tiny_folder, pictures, when]
    assert subprocess.run(arguments, check=False, timeout=120).returncode == -signal.SIGKILL
    with Gallery(place) as gallery:
        before = gallery._store.rows()
        assert 4 <= len(before) <= 6
        check_vectors(gallery)
        found = gallery.index([pictures])
        assert (found.unchanged, found.added, found.total) == (len(before), 6 - len(before), 6)
        assert len(gallery._store.search(np.ones(8, np.float32), 16)) == 6  # nothing is there twice
        check_vectors(gallery)
    with GalleryStore(str(place)) as store:
        assert len(store) == 6
