"""The commands of a gallery, and images to index."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.cli.commands import index, retrieve
from mmgrad_explain.cli.main import HelpfulParser


@pytest.fixture
def gallery_command(capsys, tmp_path, monkeypatch):
    """Call ``index`` or ``retrieve``; errors are raised."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        parser = HelpfulParser(prog="mmgrad-explain")
        commands = parser.add_subparsers()
        index.add_parser(commands)
        retrieve.add_parser(commands)
        options = parser.parse_args([str(argument) for argument in arguments])
        code = options.run(options)
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path / "pictures"
