"""What the README says can be typed, can be typed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marked(name):
    block = README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    return re.search(r"```sh\n(.*?)```", block, re.DOTALL).group(1).strip()


def test_the_two_commands_set_everything_up():
    for name in ("main job", "tests"):
        command = marked(name)
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_the_main_job(checkout, capsys):
    from mmgrad_explain.cli.main import main

    program, *arguments = shlex.split(marked("main job").split(" && ")[-1])
    assert program == ".venv/bin/mmgrad-explain"
    assert main(arguments) == 0
    name = capsys.readouterr().out.splitlines()[0]
    with Image.open(checkout / name) as picture:
        assert picture.width > 1.9 * picture.height * 0.8


def test_the_three_lines(checkout):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert (checkout / "where.png").stat().st_size > 10_000


def test_every_linked_file_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
