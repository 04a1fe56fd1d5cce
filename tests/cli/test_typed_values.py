"""Texts and names as they are typed."""

import os
import subprocess
import sys

import pytest

from mmgrad_explain.cli.typed_values import check_name, decode_text
from mmgrad_explain.errors import InputError


def test_texts():
    assert decode_text("make it réd") == "make it réd"
    with pytest.raises(InputError, match=r"bytes that are not UTF-8: type it anew"):
        decode_text("caf\udce9")


def test_a_text_in_a_locale_without_its_letters():
    """The locale C of old, in which Python takes bytes for what they are."""
    code = (
        "import sys; from mmgrad_explain.cli.typed_values import decode_text as decode; "
        "assert decode(sys.argv[1]) == 'r\\xe9d'"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, "réd".encode()], env=plain, check=True)


def test_names():
    check_name("--score", None, ("shift",))
    check_name("--score", "shift", ("shift",))
    message = "--score: there is no 'shfit': did you mean 'shift'[?] choose from shift, pair"
    with pytest.raises(InputError, match=message):
        check_name("--score", "shfit", ("shift", "pair"))
