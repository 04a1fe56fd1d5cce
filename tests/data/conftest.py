"""Miniatures of the composed-retrieval benchmarks as fixtures: tests break them one thing at a time."""

import json

import pytest
from cir_miniatures import (
    put,
    write_circo,
    write_cirr,
    write_fashion200k,
    write_fashioniq,
    write_jsonl,
    write_lasco,
    write_shoes,
)


@pytest.fixture
def cirr(tmp_path):
    """CIRR as its makers lay it out."""
    return write_cirr(tmp_path)


@pytest.fixture
def fashioniq(tmp_path):
    """FashionIQ: one image is on two lists."""
    return write_fashioniq(tmp_path)


@pytest.fixture
def shoes(tmp_path):
    """Shoes as published; the images are somewhere below."""
    return write_shoes(tmp_path)


@pytest.fixture
def circo(tmp_path):
    """CIRCO with a gallery of six."""
    return write_circo(tmp_path)


@pytest.fixture
def lasco(tmp_path):
    """LaSCo: the corpora name other paths than the queries."""
    return write_lasco(tmp_path)


@pytest.fixture
def fashion200k(tmp_path):
    """Fashion200K: two images have one label."""
    return write_fashion200k(tmp_path)


@pytest.fixture
def jsonl(tmp_path):
    """Triplets of a user."""
    return write_jsonl(tmp_path)


@pytest.fixture
def write():
    """:func:`put`, for tests that break a miniature."""
    return put


@pytest.fixture
def change():
    """Change a JSON file by a function of its content, which may give a new one."""

    def apply(path, function):
        content = json.loads(path.read_text())
        changed = function(content)
        path.write_text(json.dumps(content if changed is None else changed))

    return apply


@pytest.fixture
def list_findings():
    """List findings without the advice: (where, count, what, first names)."""

    def rows(found, level=None):
        wanted = [f for f in found.findings if level in (None, f.level)]
        return [(f.where, f.count, f.what, *f.first) for f in wanted]

    return rows


@pytest.fixture
def without():
    """Make a change of a JSON list: its first record loses some keys."""

    def drop(*keys):
        return lambda entries: [{k: v for k, v in entries[0].items() if k not in keys}, *entries[1:]]

    return drop
