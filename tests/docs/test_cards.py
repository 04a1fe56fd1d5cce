"""The cards of the bundled models name what they must, and the commands in them are understood."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.composers.load import BUNDLED
from mmgrad_explain.training.config_file import load_config

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "src" / "mmgrad_explain" / "weights"
FIELDS = ("For", "Network", "Data", "Training", "Figures", "Limits", "What it notes", "Licence")
FREE_LICENCE = re.compile(r"Apache-2\.0|CC[ -]|public domain|No photographs")
MARKERS = re.compile(r"<!-- table: begin, by benchmarks/photos\.py -->(.*?)<!-- table: end -->", re.DOTALL)


def card(name):
    return (WEIGHTS / name / "README.md").read_text(encoding="utf-8")


def fields(text):
    """The text of each point, by its name."""
    points = re.findall(r"(?ms)^- \*\*(.+?)\*\*(.*?)(?=^- \*\*|^<!--|\Z)", text)
    return {name: " ".join(said.split()) for name, said in points}


def commands(text):
    """Every command of ours, as it is typed."""
    plain = " ".join(text.split())
    return re.findall(r"`((?:mmgrad-explain|python benchmarks/\S+|training\.familiarity_fit) .+?)`", plain)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_card_says_what_a_reader_must_know(name):
    found = fields(card(name))
    assert [field for field in FIELDS if not found.get(field)] == []
    assert FREE_LICENCE.search(found["Data"]), "the data's licence"
    assert re.search(r"\bseed \d", found["Training"]), "the training's seed"
    assert "Apache-2.0" in found["Licence"]


@pytest.mark.parametrize("name", BUNDLED)
def test_its_training_command_is_a_config_of_the_package_with_its_seed(name):
    said = fields(card(name))["Training"]
    typed = [shlex.split(one) for one in commands(said) if one.startswith("mmgrad-explain train")]
    assert typed, "the command"
    for _, *arguments in typed:
        options = build_parser().parse_args(arguments)
        config = load_config(options.config, options.set)
        assert config.seed == int(re.search(r"\bseed (\d+)", said)[1])


@pytest.mark.parametrize("name", BUNDLED)
def test_its_benchmarks_take_the_options_it_shows(name):
    typed = [shlex.split(one.replace("...", "")) for one in commands(card(name)) if one.startswith("python")]
    assert typed
    for _, script, *arguments in typed:
        parser = runpy.run_path(str(ROOT / script)).get("parser")
        if parser is not None:
            parser().parse_args(arguments)


@pytest.mark.parametrize("name", [name for name in BUNDLED if MARKERS.search(card(name))])
def test_its_table_is_written_and_has_intervals(name):
    table = MARKERS.search(card(name))[1]
    assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", table)) >= 6


def test_every_model_on_photographs_has_a_table():
    on_photographs = [name for name in BUNDLED if "benchmarks/photos.py" in fields(card(name))["Figures"]]
    assert on_photographs == [name for name in BUNDLED if MARKERS.search(card(name))] != []


def test_a_model_stays_small():
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in WEIGHTS.iterdir()
        if folder.is_dir()
    }
    assert set(BUNDLED) <= set(sizes)
    assert {name: size for name, size in sizes.items() if size >= 15_000_000} == {}
    assert sum(sizes.values()) < 45_000_000
