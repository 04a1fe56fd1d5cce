"""Help, version, layers, and what must not be imported."""

import json
import subprocess
import sys
import warnings

import pytest

from mmgrad_explain import __version__


def test_version(run):
    assert run("--version") == (0, f"mmgrad-explain {__version__}\n", "")


@pytest.mark.parametrize("command", [[], ["overlay"], ["layers"]])
def test_short_and_long_help(run, command):
    code, short, _ = run(*command, "-h")
    long_code, long, _ = run(*command, "--help")
    assert code == long_code == 0
    assert long.startswith(short.rstrip("\n"))
    assert "Examples:" in long
    assert "Examples:" not in short


def test_no_command_and_unknown_command(run):
    for arguments, part in (([], "required: COMMAND"), (["overly"], "invalid choice: 'overly'")):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert part in err
        assert err.count("\n") == 1


def test_help_names_what_there_is():
    from mmgrad_explain.attention.scores import SCORES
    from mmgrad_explain.attention.weighting import WEIGHTINGS
    from mmgrad_explain.cli import overlay

    for name in (*SCORES, *WEIGHTINGS):
        assert name in overlay._DETAILS


def test_the_callers_warning_filters_stay(run):
    before = list(warnings.filters)
    run("layers", "--model", "referense")
    assert warnings.filters == before


def test_layers(run):
    code, out, err = run("layers")
    assert (code, err) == (0, "")
    chosen = [line for line in out.splitlines() if line.startswith("*")]
    assert len(chosen) == 1
    assert chosen[0].split()[1:4] == ["network.features", "Identity", "24x24"]
    assert any("network.visual.layer3" in line and "6x6" in line for line in out.splitlines())


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
