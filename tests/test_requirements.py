"""The lowest versions that are declared are those that are tested."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
TOOLS = {"docs", "test", "dev"}  # extras that only serve the project itself


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [
        line for extra, lines in project["optional-dependencies"].items() if extra not in TOOLS for line in lines
    ]
    found = {one.name: one.specifier for one in map(Requirement, lines) if one.name != project["name"]}
    return {name: Version(str(limits).removeprefix(">=")) for name, limits in found.items()}


def test_the_lowest_versions_are_those_that_are_declared():
    lines = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()
    pinned = {name: Version(version) for name, version in (line.split("==") for line in lines if "==" in line)}
    floors = declared()
    assert len(floors) > 15
    assert pinned.keys() == floors.keys()
    for name, floor in floors.items():
        assert pinned[name].release[: len(floor.release)] == floor.release, name  # 2.8 is tested as 2.8.0


def test_the_chosen_tests_exist():
    names = re.findall(r"^tests/\S+", (ROOT / ".ci" / "chosen_tests.txt").read_text(), re.MULTILINE)
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name.partition("::")[0]).exists()] == []
