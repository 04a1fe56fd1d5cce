"""Help, version, layers, and what must not be imported."""

import argparse
import re
import shlex
import subprocess
import sys
import warnings

import pytest

from mmgrad_explain import __version__
from mmgrad_explain.cli.main import build_parser


def test_version(run):
    assert run("--version") == (0, f"mmgrad-explain {__version__}\n", "")


def test_the_name_alone_says_how_to_begin(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "\nTry:\n  mmgrad-explain overlay query.jpg" in out
    for command in re.findall(r"mmgrad-explain (\w+)", out):
        assert run(command, "-h")[0] == 0


def commands(parser, path=()):
    """Each command's words with its parser."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, (*path, name))


@pytest.mark.parametrize(("path", "parser"), [pytest.param(*c, id=" ".join(c[0])) for c in commands(build_parser())])
def test_every_command_has_examples_that_can_be_typed(path, parser):
    lines = [line.strip() for line in parser.details.partition("Examples:\n")[2].splitlines()]
    examples = [line for line in lines if re.match(r"(cat \S+ \| )?mmgrad-explain ", line)]
    assert examples
    for line in examples:
        words = shlex.split(line.rpartition("| ")[2].partition(" > ")[0])
        assert words[1 : 1 + len(path)] == list(path)
        if "--help" not in words:
            assert build_parser().parse_args(words[1:]).run


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "mmgrad_explain", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"mmgrad-explain {__version__}\n")


def test_the_callers_warning_filters_stay(run):
    before = list(warnings.filters)
    run("layers", "--model", "referense")
    assert warnings.filters == before


def python(code, *arguments, cwd=None):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_importing_the_package_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, time; t = time.perf_counter(); import mmgrad_explain; "
        "t = time.perf_counter() - t; dir(mmgrad_explain); "
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'transformers', 'timm', 'matplotlib'} & set(sys.modules); "
        "print(t, heavy)"
    )
    done = python(code)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert float(seconds) < 0.3, done
    assert heavy.strip() == "set()"


def test_the_command_line_starts_with_nothing_heavy():
    code = (
        "import sys; from mmgrad_explain.cli.main import main; code = main([]); heavy = {'torch', 'numpy', 'PIL', "
        "'yaml', 'rich', 'argcomplete', 'mmgrad_explain.cli.completers'} & set(sys.modules); "
        "print(code, sorted(heavy), file=sys.stderr)"
    )
    assert python(code).stderr == "0 []\n"


def test_every_public_name_is_there():
    import mmgrad_explain

    for name in mmgrad_explain.__all__:
        assert getattr(mmgrad_explain, name) is not None
    assert set(mmgrad_explain.__all__) <= set(dir(mmgrad_explain))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mmgrad_explain.nonsense


def test_overlay_imports_only_what_it_needs_and_works_where_cv2_cannot_be_imported(picture_file, tmp_path):
    code = (
        "import sys; sys.modules['cv2'] = None; from mmgrad_explain.cli.main import main; "
        "blocked = main([*sys.argv[1:], '--contour', '--out', 'contour.png']); "
        "del sys.modules['cv2']; code = main([*sys.argv[1:], '--out', 'map.png']); "
        "heavy = {'transformers', 'timm', 'torchvision', 'matplotlib', 'captum', 'pandas', 'scipy', 'torch._dynamo', "
        "'huggingface_hub'} & set(sys.modules); print(blocked, code, sorted(heavy), file=sys.stderr)"
    )
    done = python(code, "overlay", str(picture_file), "make it red", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "0 0 []\n")
    assert (tmp_path / "contour.png").stat().st_size > 1000
    assert (tmp_path / "map.png").stat().st_size > 1000
