"""Files that commands write: their names, and numbers where a name is taken."""

from argparse import Namespace
from pathlib import Path

import pytest

from mmgrad_explain.cli.output_files import OutputFile, name_after
from mmgrad_explain.errors import OutputExistsError


def save(path, *, overwrite):
    if path.exists() and not overwrite:
        raise OutputExistsError(str(path))
    path.write_text("new")


@pytest.fixture
def taken(tmp_path):
    path = tmp_path / "map.png"
    path.write_text("mine")
    return path


def test_a_name_that_nobody_typed_gets_a_number(taken):
    file = OutputFile.planned(taken, Namespace(out=None, overwrite=False))
    file.check()
    assert file.write(save) == taken.with_name("map-2.png")
    assert file.write(save) == taken.with_name("map-3.png")
    assert taken.read_text() == "mine"


def test_a_name_that_was_typed_is_refused_where_it_is_taken(taken):
    file = OutputFile.planned(taken, Namespace(out=str(taken), overwrite=False))
    with pytest.raises(OutputExistsError):
        file.check()
    with pytest.raises(OutputExistsError):
        file.write(save)
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("out", [None, "map.png"])
def test_a_file_is_replaced_where_that_is_asked_for(taken, out):
    file = OutputFile.planned(taken, Namespace(out=out, overwrite=True))
    file.check()
    assert file.write(save) == taken
    assert taken.read_text() == "new"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("make it red", "make-it-red"),
        ("  Make IT, red! ", "make-it-red"),
        ("名前", "map"),
        ("word " * 20, "word-word-word-word-word-word-word-word"),
    ],
)
def test_names_after_texts(text, name):
    assert name_after(text, "map") == name
    assert Path(name).name == name
