"""What all tests share: small pictures and a small random reference model in a folder."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image


def pytest_addoption(parser):
    parser.addoption(
        "--threads", type=int, default=1, help="threads of torch in processes of the tests; 0 leaves them alone"
    )


def pytest_configure(config):
    """Small tensors gain nothing from more threads, and processes beside each other lose by them."""
    if threads := config.getoption("--threads"):
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


LONGEST = ("test_it_is_built_and_everything_is_there", "test_two_processes_train_as_one")
SHARING = ("tests/web/", "tests/docs/")  # a browser, the served page, a reader's things


def pytest_collection_modifyitems(items):
    """The longest tests begin first, so that no worker is left alone with one at the end.

    Then tests that share what takes long to make: all in the first half of the tests, which is one of two workers'.
    """
    items.sort(key=lambda item: (item.name not in LONGEST, not item.nodeid.startswith(SHARING)))


# Without an accelerator, torch.manual_seed still writes down the stack for it: 0.4 ms, tens of thousands of times.
seed = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed


def pytest_fixture_setup(fixturedef):
    """Random weights and pictures of a fixture are the same whichever tests ran before."""
    seed(crc32(fixturedef.argname.encode()))


def pytest_runtest_call(item):
    """What a test draws is the same whichever tests ran before."""
    seed(crc32(item.nodeid.encode()))


SIZES = {
    "image_size": 32,
    "text_width": 16,
    "text_layers": 1,
    "heads": 2,
    "feature_width": 16,
    "embed_dim": 8,
    "backbone_options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16], "stem_width": 8, "groups": 2},
}


@pytest.fixture(scope="session")
def tokenizer():
    from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
    from mmgrad_explain.data.scenes.text import VOCABULARY

    return build_tokenizer(VOCABULARY)


@pytest.fixture(scope="session")
def tiny_config(tokenizer):
    from mmgrad_explain.composers.reference.config import NetworkConfig

    return NetworkConfig(vocab_size=tokenizer.get_vocab_size(), **SIZES)


@pytest.fixture(scope="session")
def tiny_processor(tokenizer, tiny_config):
    from mmgrad_explain.composers.reference.processor import ReferenceProcessor

    return ReferenceProcessor(tokenizer, image_size=tiny_config.image_size)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, tiny_processor, tiny_config):
    """A random reference model, saved as a user would save one."""
    import json
    from dataclasses import asdict

    from safetensors.torch import save_file

    from mmgrad_explain.composers.model_types import REFERENCE
    from mmgrad_explain.composers.reference.build import PREFIX, build_network

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    network = build_network(tiny_config)
    save_file({PREFIX + key: value for key, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": REFERENCE, **asdict(tiny_config)}))
    tiny_processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def same_maps():
    """Maps are equal, each up to a share of its own largest value.

    How many threads add up a sum changes its last digits, and a cell near zero is a difference of large numbers: its
    own value says nothing about how exact it can be.
    """

    def check(found, expected, share=1e-4):
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=share * max(np.abs(other).max(), 1e-12))

    return check


@pytest.fixture
def tiny(tiny_folder):
    from mmgrad_explain.composers.load import load_composer

    return load_composer(tiny_folder)


@pytest.fixture
def picture():
    """A 60x40 picture with a red square on faint grey noise: nothing the bundled model would call strange."""
    pixels = np.random.default_rng(0).integers(120, 130, (40, 60, 3), dtype=np.uint8)
    pixels[8:20, 30:44] = (220, 20, 20)
    return Image.fromarray(pixels)


@pytest.fixture
def picture_file(picture, tmp_path):
    path = tmp_path / "query.png"
    picture.save(path)
    return path


@pytest.fixture
def run(capsys):
    """Call ``mmgrad-explain`` as from a shell: the exit code, what it printed, what it said beside that."""
    from mmgrad_explain.cli.main import main

    def call(*arguments):
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as stop:
            code = stop.code
        done = capsys.readouterr()
        return code, done.out, done.err

    return call


@pytest.fixture(scope="session")
def write_clipseg():
    def write(folder):
        """A random CLIPSeg with its processor, saved as the hub has them."""
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor
        from transformers.models.clipseg.processing_clipseg import CLIPSegProcessor

        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(vocabulary)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
        width = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        ends = {"bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1, "pad_token_id": 0}
        torch.manual_seed(0)
        config = CLIPSegConfig(
            text_config={**width, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 16},
            vision_config={**width, "image_size": 32, "patch_size": 8},
            projection_dim=16,
            reduce_dim=8,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=16,
            extract_layers=[0, 1],
        )
        CLIPSegForImageSegmentation(config).save_pretrained(folder)
        images = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        CLIPSegProcessor(images, tokenizer).save_pretrained(folder)

    return write


@pytest.fixture(scope="session")
def held_elsewhere():
    @contextmanager
    def held(place):
        """Another process has this gallery open; it is killed at the end."""
        code = f"""
from mmgrad_explain.gallery.store import GalleryStore
with GalleryStore({str(place)!r}, create=True):
    print("open", flush=True)
    input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "open\n"
            yield
            other.kill()

    return held


@pytest.fixture
def docs_script(request, monkeypatch):
    """A script that writes a table of the documentation; its name is the parameter."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    return importlib.import_module(request.param)
