"""What README, docs and helps show to type runs, in order, a page in a folder, with stand-ins for a reader's things."""

import argparse
import contextlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from mmgrad_explain.cli.main import build_parser, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"(?m)^( *)```(python|sh|bash|console|shell)\n(.*?)^\1```", re.DOTALL)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SHORT = ("steps=2", "workers=0", "tensorboard=false", "evaluation.batches=1", "evaluation.maps=2")

NOT_RUN = {
    r"mmgrad-explain data labels (?!--help)": "needs the weights of a large network",
    r"mmgrad-explain train everyday": "needs the weights of a large network",
    r"python3(\.\d+)? -m venv ": ".ci/run makes a virtual environment",
    r"\. \.venv/bin/activate$": "what is installed is tested as it is",
    r"ssh -L ": "needs another machine",
    r"mmgrad-explain .* --set wandb=true$": "needs wandb, which tests do not install; its options are parsed",
    r"tensorboard --logdir runs$": "another program, which runs until it is stopped",
    r"(\.venv/bin/)?python -m sphinx ": ".ci/run builds the pages",
    r"\.venv/bin/(pytest|ruff|mypy)\b": ".ci/run runs it",
    r"torchrun --nproc-per-node 2 -m mmgrad_explain train ": "tests/training/test_several_processes.py starts two",
    r"mmgrad-explain (.* runs/(cirr|shoes)|data (check|masks) (cirr CIRR|shoes shoes))\b": "as with FashionIQ",
    r"mmgrad-explain (convert .*\.pt |.* --model (clip4cir|sprc)\b)": "needs published weights; options are parsed",
    r"mmgrad-explain demo$": "README's command runs, and tests/cli/test_demo.py",
    r"mmgrad-explain evaluate --maps refcoco:": "tests/data/phrases reads RefCOCO's files",
    r"mmgrad-explain .*http://host:19530": "needs a Milvus server; its options are parsed",
}

# What a block takes for granted as the reader's own, made before the first block of the page.
TOY = """
import torch
class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Sequential()
        self.visual.add_module("layer4", torch.nn.Conv2d(3, 8, 8, stride=8))
        self.words = torch.nn.Embedding(9, 8)
    def forward(self, image, text):
        query = self.visual(image).relu().mean((2, 3)) * self.words(text).mean(1)
        query.similarity = query.sum(-1)
        return query
torch.manual_seed(0)
model, image, text = Toy(), torch.rand(2, 3, 32, 32), torch.randint(9, (2, 3))
target, masks = torch.rand(2, 8), torch.rand(2, 4, 4).round()
photo, preprocess = torch.rand(3, 40, 60), "stretch"
def contrastive(query, target):
    return (query - target).square().mean()
"""
PAIRS = """
import json
from pathlib import Path
lines = [json.dumps({"image": f"photos/{number}.jpg", "text": "a dog"}) for number in range(8)]
Path("pairs.jsonl").write_text("\\n".join(lines))
"""
PRELUDES = {
    "README.md": TOY,
    "docs/composers.md": "from mmgrad_explain.cli.main import main\n"
    "main('data edits train2017 --annotations instances_train2017.json --out edits --workers 1'.split())\n",
    "docs/data.md": "import numpy as np\ncrop = np.random.default_rng(0).integers(90, 160, (120, 120, 3), np.uint8)\n",
    "docs/evaluation.md": TOY,
    "docs/how-to/calibrate.md": PAIRS
    + """
import torch
class Towers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.vision, self.words = torch.nn.Conv2d(3, 8, 8, stride=8), torch.nn.Embedding(9, 8)
    def forward(self, pixel_values, input_ids):
        return (self.vision(pixel_values).relu().mean((2, 3)) * self.words(input_ids).mean(1)).sum(-1)
torch.manual_seed(0)
model, pixels, ids = Towers(), torch.rand(16, 3, 64, 64), torch.randint(9, (16, 3))
""",
    "docs/which-map.md": TOY
    + """
from mmgrad_explain import MMGrad
calls = [(torch.rand(1, 3, 64, 64), torch.randint(9, (1, 3))) for _ in range(8)]
model.forward, forward = (lambda *args: forward(*args).similarity), model.forward
""",
    "docs/performance.md": TOY
    + """
from mmgrad_explain.images import open_image
images = [open_image("dog.jpg"), open_image("photo.jpg")]
class Towers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.vision, self.words = torch.nn.Conv2d(3, 8, 8, stride=8), torch.nn.Embedding(9, 8)
    def embed_image(self, pixels):
        return self.vision(pixels).relu().mean((2, 3))
    def embed_text(self, ids):
        return self.words(ids).mean(1)
    def forward(self, pixels, ids):
        return (self.embed_image(pixels) * self.embed_text(ids)).sum(-1)
model, pixels, ids = Towers(), torch.rand(1, 3, 32, 32), text
""",
    "docs/grounding.md": TOY
    + """
from pathlib import Path
import json
from mmgrad_explain.images import open_image
batches, optimizer, log = [(image, text, target, masks)], torch.optim.SGD(model.parameters(), 0.1), print
reference_features, target_features = torch.rand(2, 8, 24, 24), torch.rand(2, 8, 24, 24)
maps_of_paraphrases, has_paraphrase = torch.rand(2, 4, 4), torch.tensor([True, False])
def score_of(images):
    return (model(images, text) * target).sum(-1)
pictures, files, texts = [open_image("dog.jpg")] * 2, ["0.jpg", "1.jpg"], ["the red dog", "the left dog"]
Path("instances.json").write_text(Path("instances_train2017.json").read_text())
found = [{"image_id": 0, "category_id": 1, "bbox": [9, 9, 40, 40], "score": 0.9}]
Path("boxes.json").write_text(json.dumps(found))
""",
    "docs/method.md": """
import torch
from mmgrad_explain import MMGrad
class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.vision, self.words = torch.nn.Sequential(), torch.nn.Embedding(9, 8)
        self.vision.add_module("blocks", torch.nn.ModuleDict({"10": torch.nn.Conv2d(3, 8, 8, stride=8)}))
        self.vision.blocks.forward = lambda pixels: self.vision.layer4(pixels)
        self.vision.add_module("layer4", torch.nn.ReLU())
    def match(self, features, words):
        return (features.mean((2, 3)) * words.mean(1)).sum(-1)
    def forward(self, pixels, ids):
        return self.match(self.vision(pixels), self.words(ids))
torch.manual_seed(0)
model, pixels, ids = Toy(), torch.rand(1, 3, 32, 32), torch.randint(9, (1, 3))
model.vision.blocks.forward = lambda pixels: model.vision.blocks["10"](pixels)
def score(output):
    return output
""",
}


def blocks(text):
    """Line (of the first line of code), language and code of each fenced block that can be run."""
    return [
        (text.count("\n", 0, found.start(3)) + 1, found[2], textwrap.dedent(found[3]))
        for found in FENCED.finditer(text)
    ]


def commands(code, line):
    """Each command of shell code with its line; lines that go on in the next one are one command."""
    joined = re.sub(r"\\\n\s*", lambda found: "\0", code)
    for text in joined.split("\n"):
        command = text.replace("\0", " ").strip().removeprefix("$ ")
        if command and not command.startswith("#"):
            yield line, command
        line += 1 + text.count("\0")


def parsers(parser, name="mmgrad-explain"):
    """All parsers of the command line by their commands."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from parsers(below, f"{name} {word}")


PARSERS = dict(parsers(build_parser()))


def examples(parser):
    """The commands that a help shows."""
    return re.findall(r"(?m)^  ((?:cat \S+ \| )?mmgrad-explain .*?)(?:  +.*)?$", parser.details)


def parsed(arguments):
    """The options as the command line understands them; a wrong one is an error of the page."""
    try:
        return build_parser().parse_args(arguments)
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"not understood: {shlex.join(['mmgrad-explain', *arguments])}")
        return None


def shortened(arguments):
    """The same command with a small amount of work, by options that come after the page's own."""
    if not arguments:
        return arguments
    if arguments[0] == "train" and "--help" not in arguments:
        arguments = [one.replace("=RUN/model", "=clothing") for one in arguments]
        own = {"clip": "triplets", "clothing": "photos", "clothing-large": "photos", "fashioniq": "fashioniq"}
        kind = own.get(arguments[1], "scenes")
        few = [f"sources.{kind}.{option}" for option in ("pictures=2", "edits=2")]
        few += [] if kind == "scenes" else [f"sources.{kind}.holdout=0.5"]
        few += ["sources.photos.least=1"] if kind == "photos" else []
        return [*arguments, *(word for change in (*SHORT, *few) for word in ("--set", change))]
    if arguments[:2] in (["data", "edits"], ["data", "scenes"]) and "--count" in arguments:
        count = int(arguments[arguments.index("--count") + 1])
        if arguments[1] == "edits":
            return [*arguments, "--workers", "1", "--split", "1"]  # there are few photographs
        return [*arguments, "--count", str(min(24, max(12, count // 200))), "--workers", "1"]
    if arguments[0] == "compare" and "--layers" not in arguments:  # the maps of one example are checked
        return [*arguments, "--no-check"]  # some hundred runs of the model a map
    port = ["--port", os.environ["FREE_PORT"]] if arguments[0] == "demo" else []
    return [*arguments, *port, *(["--device", "cpu"] if "--device" in arguments else [])]


def run_command(command, capsys):
    """Run one command of a page as it fits."""
    for part in [command] if re.search(r"[|<>]", command) else command.split(" && "):
        reason = next((pattern for pattern in NOT_RUN if re.match(pattern, part)), None)
        simple = (part.partition("|")[2] or part).partition(" > ")[0]
        shell = ["bash", "-c", f"printf '%s\\0' {simple}"]
        words = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
        while "=" in words[0]:
            del words[0]
        program, *arguments = [words[0].removeprefix(".venv/bin/"), *words[1:]]
        if program == "mmgrad-explain":
            parsed(arguments)
        if reason:
            continue
        if program == "pip":
            for extra in re.findall(r"\[(.*?)\]", part):
                assert set(extra.split(",")) <= set(EXTRAS), part
        elif program == "mmgrad-explain":
            piped(arguments, part, capsys)
        elif re.search(r"[|<>]", part) or program == "mkdir":
            done = subprocess.run(["bash", "-c", part], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{part}: {done.stderr}"
        elif program == "python" and arguments[0] == "-c":
            exec(arguments[1], {})
        elif program == "python" and arguments[0].startswith(("benchmarks/", "docs/")):
            understood(arguments)
        else:
            pytest.fail(f"nothing says how to run: {part}")


def piped(arguments, part, capsys):
    """Run a command of ours in this process; it reads from ``cat FILE |`` and writes to ``> FILE`` as in a shell."""
    form = re.fullmatch(r"(?:cat (\S+) \| )?(?:\w+=\S+ )*(?:\.venv/bin/)?mmgrad-explain\b[^|<>]*?(?: > (\S+))?", part)
    assert form, f"nothing says how to pipe: {part}"
    with contextlib.ExitStack() as stack:
        if form[1]:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(sys, "stdin", stack.enter_context(Path(form[1]).open()))
        try:
            code = main(shortened(arguments))
        except SystemExit as stop:
            code = stop.code
    said = capsys.readouterr()
    assert code == 0, f"{part}: {said.err}"
    if form[2]:
        Path(form[2]).write_text(said.out)


class Understood(BaseException):
    """A script has read its options."""


def understood(arguments):
    """Have a script read its options, and no more; what it does then is tested elsewhere, on a short run."""
    parse = argparse.ArgumentParser.parse_args

    def read(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        raise Understood

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(Understood):
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")


def run_page(name, text, capsys):
    """Run what a page shows, in its order, Python in one namespace."""
    namespace = {"__name__": "page"}
    exec(PRELUDES.get(name, ""), namespace)
    for line, language, code in blocks(text):
        if language == "python":
            try:
                exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)
            except Exception as error:
                raise AssertionError(f"{name}, block at line {line}: {error!r}") from error
        else:
            for where, command in commands(code, line):
                try:
                    run_command(command, capsys)
                except BaseException as error:
                    error.add_note(f"{name}:{where}: {command}")
                    raise


def shown_by_pages():
    """The shell's commands of all pages."""
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    shell = [code for text in texts for _, language, code in blocks(text) if language != "python"]
    return {command for code in shell for _, command in commands(code, 1)}


RUNNABLE = [str(path.relative_to(ROOT)) for path in PAGES if blocks(path.read_text(encoding="utf-8"))]


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
@pytest.mark.parametrize("name", RUNNABLE)
def test_what_a_page_shows_runs(name, reader, capsys):
    run_page(name, (ROOT / name).read_text(encoding="utf-8"), capsys)


INDENTED = re.compile(r"(?m)^\n {4,}((?:mmgrad-explain|mmgrad\b|python|pip|from|import|\.venv)\b.*)")
AS_TEXT = {
    'pip install "mmgrad-explain[openclip]"': "followed by a call of a model of open_clip's hub",
    "from mmgrad_explain import TwoTowerComposer, explain": "with weights that only the reader has",
    "from mmgrad_explain.training import GroundedTrainer, training_arguments": "with the reader's source and config",
}


def test_nothing_to_type_is_left_outside_the_blocks():
    texts = [FENCED.sub("", path.read_text(encoding="utf-8")) for path in PAGES]
    assert sorted(line for text in texts for line in INDENTED.findall(text)) == sorted(AS_TEXT)


HELP = [(name, command) for name, parser in PARSERS.items() for command in examples(parser)]


MADE_BEFORE = {
    "mmgrad-explain calibrate": [f"python -c {shlex.quote(PAIRS)}"],
    "mmgrad-explain": ["mmgrad-explain index photos/ --gallery mine.db"],
    "mmgrad-explain overlay": [
        "python -c \"from mmgrad_explain.composers.stand_ins import stand_in; stand_in('llava', 'my-llava')\""
    ],
    "mmgrad-explain data edits": [
        "mmgrad-explain data edits photos/ --labels labels/ --ignore skin --out clothes/ --count 2000 --seed 1"
    ],
    "mmgrad-explain data masks": ["mmgrad-explain data scenes --out my-triplets --count 12"],
    "mmgrad-explain data check": ["mmgrad-explain data scenes --out my-triplets --count 12"],
    "mmgrad-explain evaluate": [
        "mmgrad-explain data scenes --out my-triplets --count 12",
        "mmgrad-explain data scenes --out scenes --count 12",
    ],
    "mmgrad-explain retrieve": ["mmgrad-explain index photos/ --gallery mine.db"],
    "mmgrad-explain train": [
        "mmgrad-explain data edits train2017 --annotations instances_train2017.json --out coco-edits"
    ],
    "mmgrad-explain demo": ["mmgrad-explain index photos/ --gallery mine.db"],
}


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.details])
def test_what_a_help_shows_runs(name, reader, capsys):
    """Where a page or the help of all commands shows the same, it is run there."""
    there = shown_by_pages() | (
        {command for other, command in HELP if other != name} if name == "mmgrad-explain" else set()
    )
    here = [command for other, command in HELP if other == name and command not in there]
    for command in [*MADE_BEFORE.get(name, ()), *here]:
        run_command(command, capsys)


# ---------------------------------------------------------------------------------------------------------- the finder


def test_blocks_and_commands_are_found():
    text = "One\n\n```python\na = 1\n```\n\n```text\nno\n```\n"
    text += "```sh\n# no\nmmgrad-explain layers \\\n  --json\nmkdir x\n```\n"
    text += "- one\n\n  ```python\n  for x in 'a':\n      b = 2\n  ```\n"
    assert [(line, language) for line, language, _ in blocks(text)] == [(4, "python"), (11, "sh"), (19, "python")]
    assert blocks(text)[2][2] == "for x in 'a':\n    b = 2\n"
    assert list(commands(blocks(text)[1][2], 11)) == [(12, "mmgrad-explain layers  --json"), (14, "mkdir x")]
    assert {"README.md", "docs/index.md", "docs/how-to/many-pictures.md"} <= set(RUNNABLE)
    shown = [name for name, parser in PARSERS.items() if parser.details]
    assert {name for name, _ in HELP} == set(shown)


def test_every_exception_is_needed():
    typed = [part for command in shown_by_pages() for part in command.split(" && ")]
    typed += [command for _, command in HELP]
    assert [pattern for pattern in NOT_RUN if not any(re.match(pattern, one) for one in typed)] == []


WRONG = [
    ("sh", "mmgrad-explain layers < query.jpg", "nothing says how to pipe"),
    ("sh", "cat nowhere.jpg | mmgrad-explain overlay - red", "nowhere.jpg"),
    ("sh", "mmgrad-explain layers --jsom", "not understood"),
    ("sh", "frobnicate", "nothing says how to run"),
    ("sh", 'pip install "mmgrad-explain[tarin]"', "tarin"),
    ("sh", "mmgrad-explain retrieve query.jpg red --gallery http://host:19530 --kk 3", "not understood"),
    ("sh", "python benchmarks/peers.py --cpu-tme", "2"),
    ("python", "nothing_of_this_name", "is not defined"),
]


@pytest.mark.parametrize(("language", "code", "why"), WRONG)
def test_a_page_that_is_wrong_is_found(language, code, why, reader, capsys):
    with pytest.raises((AssertionError, OSError, SystemExit, pytest.fail.Exception), match=why):
        run_page("sample.md", f"```{language}\n{code}\n```\n", capsys)
