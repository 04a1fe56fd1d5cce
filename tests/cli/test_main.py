"""Help, version, layers, and what must not be imported."""

import argparse
import json
import re
import shlex
import subprocess
import sys
import warnings

import pytest

from mmgrad_explain import __version__
from mmgrad_explain.cli.known_names import LAYERS
from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.cli.parser import HelpfulParser


def test_version(run):
    assert run("--version") == (0, f"mmgrad-explain {__version__}\n", "")


@pytest.mark.parametrize("command", [[], ["overlay"], ["layers"], ["completion"]])
def test_short_and_long_help(run, command):
    code, short, _ = run(*command, "-h")
    long_code, long, _ = run(*command, "--help")
    assert code == long_code == 0
    assert long.startswith(short.rstrip("\n"))
    assert "Examples:" in long
    assert "Examples:" not in short


def test_the_name_alone_says_how_to_begin(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "\nTry:\n  mmgrad-explain overlay query.jpg" in out
    for command in re.findall(r"mmgrad-explain (\w+)", out):
        assert run(command, "-h")[0] == 0


def test_a_group_alone_lists_its_commands(run):
    code, out, err = run("data")
    assert (code, err) == (0, "")
    assert all(name in out for name in ("edits", "scenes", "check"))


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("overly", "argument COMMAND: invalid choice: 'overly': did you mean 'overlay'? choose from overlay, layers"),
        ("data chek", "argument COMMAND: invalid choice: 'chek': did you mean 'check'? choose from edits, scenes"),
        ("completion bsh", "argument SHELL: invalid choice: 'bsh': did you mean 'bash'? choose from bash, zsh, fish"),
        ("overlay a.png red --modle=x", "unrecognized arguments: --modle: did you mean '--model'? (see mmgrad-explain"),
        ("layers --qqqqqqq", "mmgrad-explain layers: unrecognized arguments: --qqqqqqq (see mmgrad-explain layers"),
        ("--verson", "mmgrad-explain: unrecognized arguments: --verson: did you mean '--version'? (see"),
        ("layers make it red", "unrecognized arguments: make it red: put quotes around a text of several words (see"),
        ("train", "required: CONFIG, for example: mmgrad-explain train tiny --out runs/tiny (see mmgrad-explain train"),
        ("overlay a.png", 'required: TEXT, for example: mmgrad-explain overlay query.jpg "make it red" (see'),
    ],
)
def test_what_was_typed_wrong(run, failed, line, message):
    failed(run(*line.split()), message)


def test_after_two_dashes_all_is_meant_as_it_is(run, failed):
    failed(run("overlay", "nothing.png", "--", "--odd"), "no such file: nothing.png: check its name")
    failed(run("overlay", "nothing.png", "--odd one"), "no such file: nothing.png")


def test_a_parser_without_examples_gives_none(capsys):
    parser = HelpfulParser(prog="p")
    parser.add_argument("x")
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert capsys.readouterr().err == "p: the following arguments are required: x (see p --help)\n"


def test_the_commands_names_are_the_librarys():
    from mmgrad_explain.attention import SCORES, WEIGHTINGS
    from mmgrad_explain.cli import known_names as names
    from mmgrad_explain.cli.commands.overlay import command as overlay
    from mmgrad_explain.composers.load import BUNDLED
    from mmgrad_explain.images.colormaps import COLORMAPS

    assert set(names.SCORES) == set(SCORES)
    assert set(names.WEIGHTINGS) == set(WEIGHTINGS)
    assert set(names.COLORMAPS) == set(COLORMAPS)
    assert set(names.LAYERS) == set(BUNDLED)
    for name in (*SCORES, *WEIGHTINGS):
        assert name in overlay._DETAILS


def test_the_callers_warning_filters_stay(run):
    before = list(warnings.filters)
    run("layers", "--model", "referense")
    assert warnings.filters == before


def test_layers(run):
    code, out, err = run("layers")
    assert (code, err) == (0, "")
    assert all(f" {layer} " in out for layer in LAYERS["reference"])
    chosen = [line for line in out.splitlines() if line.startswith("*")]
    assert len(chosen) == 1
    assert chosen[0].split()[1:4] == ["network.features", "Identity", "24x24"]
    assert any("network.visual.layer3" in line and "6x6" in line for line in out.splitlines())


def test_layers_of_the_other_bundled_model(run):
    assert set(LAYERS["clothing"]) <= {
        row["name"] for row in json.loads(run("layers", "--model", "clothing", "--json")[1])
    }


def test_layers_as_json(run, tiny_folder):
    code, out, _ = run("layers", "--model", str(tiny_folder), "--json")
    found = json.loads(out)
    assert code == 0
    assert [c["name"] for c in found if c["chosen"]] == ["network.features"]
    assert {"name", "type", "grid", "channels", "layout", "calls", "gradient_reaches", "mixes_text"} <= set(found[0])


def test_layers_of_no_model(run):
    code, _, err = run("layers", "--model", "referense")
    assert code == 2
    assert "did you mean" in err


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


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


def test_overlay_imports_only_what_it_needs(picture_file, tmp_path):
    code = (
        "import sys; from mmgrad_explain.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'transformers', 'timm', 'torchvision', 'matplotlib', 'captum', 'pandas', 'scipy', 'torch._dynamo', "
        "'huggingface_hub'} & set(sys.modules); print(code, sorted(heavy), file=sys.stderr)"
    )
    done = python(code, "overlay", str(picture_file), "make it red", "--out", str(tmp_path / "map.png"))
    assert done.stderr == "0 []\n"


def test_overlay_works_where_cv2_cannot_be_imported(picture_file, tmp_path):
    code = (
        "import sys; sys.modules['cv2'] = None; from mmgrad_explain.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = python(code, "overlay", str(picture_file), "make it red", "--contour", "--out", str(tmp_path / "map.png"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "map.png").stat().st_size > 1000
