"""The tutorials run as scripts, write nothing beside themselves, and do not take long."""

import runpy
import shutil
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_SECONDS = 120  # of processor time, on a busy machine; a build of the docs runs them all


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The examples in a folder of their own, as the docs' build has them: it runs them from there."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("plot_*.py")), ids=lambda path: path.stem)
def test_it_runs_and_writes_nothing_beside_itself(path, checkout, capsys):
    before = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}
    start = time.process_time()
    runpy.run_path(str(checkout / path.name), run_name="__main__")
    assert time.process_time() - start < MOST_SECONDS
    after = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}
    assert after == before
    said = capsys.readouterr().out
    assert said
    if "from_hub_or_stand_in" in path.read_text():
        assert "random weights: its maps mean nothing" in said  # the page itself says what answered


def test_the_first_picture_of_the_readme_is_what_its_script_draws():
    import numpy as np
    from PIL import Image

    script = runpy.run_path(str(EXAMPLES.parent / "docs" / "overlay_picture.py"))
    with Image.open(script["PICTURE"]) as picture:
        kept = np.asarray(picture, float)
    drawn = np.asarray(script["draw"](), float)
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 1
