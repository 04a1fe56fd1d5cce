"""Pickles: plain values are read, of Python 2 as well; anything that would run code is refused and not run."""

import collections
import pickle
from pathlib import Path

import pytest

from mmgrad_explain.data.phrases import read_plain_pickle
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_values(tmp_path, protocol):
    values = [{"a": 1, "b": [1.5, None, True], "c": ("x", {1, 2}), "d": "é", "e": -(2**70)}]
    file = tmp_path / "x.p"
    file.write_bytes(pickle.dumps(values, protocol))
    if protocol < 4:  # sets are made by a call there
        values[0]["c"] = "x"
        file.write_bytes(pickle.dumps(values, protocol))
    assert read_plain_pickle(file) == values


def test_strings_of_python_2_are_text(tmp_path):
    file = tmp_path / "x.p"
    file.write_bytes(b"(lp0\n(dp1\nS'split'\np2\nS'val'\np3\nsS'raw'\nVcaf\\u00e9\nsa.")
    assert read_plain_pickle(file) == [{"split": "val", "raw": "café"}]
    file.write_bytes(b"U\x02\xff\xfe.")  # bytes that are no UTF-8
    assert isinstance(read_plain_pickle(file), str)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path, protocol):
    mark, file = tmp_path / "it ran", tmp_path / "refs(unc).p"
    file.write_bytes(pickle.dumps([Harmful(mark)], protocol))
    with pytest.raises(InputError, match="is a pickle that calls"):
        read_plain_pickle(file)
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(collections.OrderedDict(a=1)),
        pickle.dumps(print),
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02\x82\x01.",  # the extension registry
        b"Pelsewhere\n.",  # a persistent id
        b"(S'a'\ni__builtin__\neval\n.",
    ],
)
def test_everything_but_plain_values_is_refused(tmp_path, data):
    (tmp_path / "x.p").write_bytes(data)
    with pytest.raises(InputError, match="pickle"):
        read_plain_pickle(tmp_path / "x.p")


def test_damaged_and_missing_files(tmp_path):
    (tmp_path / "x.p").write_bytes(pickle.dumps([1, 2, 3])[:-3])
    with pytest.raises(InputError, match="is not a pickle, or damaged"):
        read_plain_pickle(tmp_path / "x.p")
    with pytest.raises(InputError, match="no such file"):
        read_plain_pickle(tmp_path / "y.p")
