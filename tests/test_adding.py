"""The examples of docs/architecture.md: each new thing is added to a copy of the package, and is there everywhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmgrad_explain

PACKAGE = Path(mmgrad_explain.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
SECTION = re.compile(r"\*\*([^*]+): (\d) files?[^*]*\*\*(.*?)(?=\n\*\*|\n## )", re.DOTALL)
CODE = re.compile(r"```py\n(.*?)```", re.DOTALL)
FILE = re.compile(r"^# (\S+\.py)\n", re.MULTILINE)

USE = """
import io, json, sys
from contextlib import redirect_stdout
from pathlib import Path
import torch
from mmgrad_explain import MMGrad
from mmgrad_explain.cli.main import build_parser, main

here = Path(sys.argv[1])

# a weighting, a method and a score, in Python and in what the command line accepts
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
made = MMGrad(net, "0", "length", "positive-gradcam")(torch.rand(2, 3, 16, 16))
assert (made.score_name, made.method, made.maps.shape) == ("length", "positive-gradcam", (2, 14, 14))
assert MMGrad(net, "0", "length", "energy")(torch.rand(2, 3, 16, 16)).maps.amin() > 0
command = ["overlay", str(here / "a.png"), "make it red", "--out", str(here / "map.png")]
assert main([*command, "--weighting", "positive-gradcam"]) == 0
assert main([*command, "--overwrite", "--method", "energy"]) == 0
spoken = io.StringIO()
try:
    with redirect_stdout(spoken):
        main(["overlay", "--help"])
except SystemExit:
    pass
assert "positive-gradcam" in spoken.getvalue() and "squared length of the composed embedding" in spoken.getvalue()

# families of transformers
from mmgrad_explain.composers.model_types import is_generative, is_image_text_model
assert is_image_text_model("my_clip")
assert is_generative("vipllava")

# a reader, in the command that checks a data set
(here / "pairs.json").write_text(json.dumps([["a.png", "make it red", "b.png"]]))
with redirect_stdout(io.StringIO()) as printed:
    assert main(["data", "check", "pairs", str(here)]) == 0
assert "pairs" in printed.getvalue()

# a metric, in a run's held-out figures; a form, in its config and its logs
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.figures import HELD_OUT, add_group_to_logged_name
assert "peak" in HELD_OUT
assert config_from({"grounding": {"form": "brier"}, "evaluation": {"best": "peak"}}).grounding.form == "brier"
assert add_group_to_logged_name("brier") == "grounding/train/brier"
from mmgrad_explain import AttentionGroundingLoss
loss = AttentionGroundingLoss("brier")
assert loss(torch.rand(2, 4, 4), torch.ones(2, 4, 4).bool()).isfinite()

# a command
with redirect_stdout(io.StringIO()) as printed:
    assert main(["hello"]) == 0
assert printed.getvalue() == "hello\\n"
print("all there")
"""


def sections():
    """Each example of the page: what is added, how many files it says, the code by file."""
    for title, count, text in SECTION.findall(PAGE.read_text(encoding="utf-8")):
        parts = FILE.split(CODE.search(text).group(1))[1:]
        yield title, int(count), dict(zip(parts[::2], parts[1::2], strict=True))


def add(package, file, code):
    """Put the code of an example into a file: definitions before the list that takes the entry, or a new file."""
    path = package / file
    code, _, entry = code.partition("# in ")
    if not path.exists():
        path.write_text(code)
        return
    text = path.read_text()
    if not entry:  # at the end
        path.write_text(f"{text}\n\n{code}")
        return
    name, _, line = entry.partition(": ")
    opened = re.search(rf"^{name}\b[^=\n]*= [({{]", text, re.MULTILINE)
    text = text[: opened.end()] + f"\n    {line.strip()}\n    " + text[opened.end() :]
    path.write_text(text[: opened.start()] + f"{code}\n\n" + text[opened.start() :])


def test_the_page_has_an_example_of_each_kind():
    titles = [title for title, _, _ in sections()]
    assert titles == [
        "A weighting", "A method", "A score", "A family of models of transformers", "A reader of a benchmark",
        "A metric",
        "A form of the grounding loss", "A command",
    ]  # fmt: skip


@pytest.mark.parametrize(("title", "count", "code"), list(sections()), ids=lambda value: str(value)[:24])
def test_the_count_is_that_of_the_files(title, count, code):
    each = 1 if title.startswith("A family") else len(code)  # the example shows one of each kind
    assert each == count


def test_what_is_added_is_everywhere(tmp_path, picture):
    shutil.copytree(PACKAGE, tmp_path / "mmgrad_explain", ignore=shutil.ignore_patterns("__pycache__"))
    for _, _, code in sections():
        for file, text in code.items():
            add(tmp_path / "mmgrad_explain", file, text)
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", USE, tmp_path],
        capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["all there"], done.stderr[-2000:]
