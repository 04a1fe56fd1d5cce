"""The table of formats: names of splits, wrong input, light imports."""

import subprocess
import sys
from importlib import import_module

import pytest

from mmgrad_explain.data.cir.formats import FORMATS, read_cir
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.protocols import PROTOCOLS


def test_splits_by_any_name(cirr):
    assert list(read_cir("cirr", cirr, ["dev"]).queries) == ["val"]
    assert list(read_cir("cirr", cirr, ["test", "val"]).queries) == ["test1", "val"]
    with pytest.raises(InputError, match=r"cirr has no split 'test2': it has train, val, test1"):
        read_cir("cirr", cirr, ["test2"])


@pytest.mark.parametrize("name", list(FORMATS))
def test_folders_that_hold_something_else(tmp_path, name):
    with pytest.raises(InputError, match=f"holds nothing of {name}: there is no "):
        read_cir(name, tmp_path)


def test_wrong_input(tmp_path):
    with pytest.raises(InputError, match=r"no data set format 'cir': did you mean 'cirr'\? there are cirr, "):
        read_cir("cir", tmp_path)
    with pytest.raises(InputError, match="is not a folder: give the one that holds circo"):
        read_cir("circo", tmp_path / "none")
    (tmp_path / "triplets.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds nothing of jsonl: no query is in its files"):
        read_cir("jsonl", tmp_path)


def test_nothing_heavy_is_imported(cirr):
    code = (
        "import sys; from mmgrad_explain.data.cir.formats import read_cir; found = read_cir('cirr', sys.argv[1]); "
        "print(found.complete, sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(cirr)], capture_output=True, text=True, check=False)
    assert done.stdout == "True []\n", done.stderr


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_reader_and_a_protocol(name):
    assert callable(import_module(f"mmgrad_explain.data.cir.{name}").read)
    assert FORMATS[name].protocol in PROTOCOLS
    assert FORMATS[name].evaluated in (*FORMATS[name].splits, None)
    assert set(FORMATS[name].other_names.values()) <= set(FORMATS[name].splits)
