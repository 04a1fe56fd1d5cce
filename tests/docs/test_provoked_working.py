"""Messages of the troubleshooting page, provoked: training, data sets, galleries, the command line, extras."""

import builtins
import io
import json
import pickle
import socket
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain import AttentionGroundingLoss, Gallery
from mmgrad_explain._system.locking import locked
from mmgrad_explain.cli.main import build_parser
from mmgrad_explain.composers.bundled import choose_by_images
from mmgrad_explain.composers.content_words import check_understood
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.instances.readers import read_coco
from mmgrad_explain.data.phrases.formats import read_phrases
from mmgrad_explain.data.phrases.plain_pickle import read_plain_pickle
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.gallery.session import Session
from mmgrad_explain.grounding import dice_loss, grounding_targets
from mmgrad_explain.training import package_checks
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.loop_arguments import check_arguments, training_arguments
from mmgrad_explain.training.run_folder import check_folder, write_description
from mmgrad_explain.training.sources.kinds import build_source
from mmgrad_explain.training.sources.step_data import Division
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models
from mmgrad_explain.web.server import check_gradio, find_port
from mmgrad_explain.web.visitor_input import read_image, split_sentences


def picture():
    Image.new("RGB", (40, 30)).save("query.png")
    return "query.png"


def cli(*arguments):
    """What a command refuses, before it is made one line."""
    options = build_parser().parse_args([str(one) for one in arguments])
    options.run(options)


def folder(**files):
    """A folder with these JSON files."""
    Path("made").mkdir()
    for name, content in files.items():
        Path("made", f"{name}.json").write_text(json.dumps(content))
    return Path("made")


def beside_a_set():
    made = folder(manifest={"complete": True, "options": {}}, mine={})
    cli("data", "scenes", "--out", made, "--count", 1, "--overwrite")


def twice_in(place):
    with locked(place), locked(place):
        pass


def holding_a_model():
    Path("run", "model").mkdir(parents=True)
    return Path("run")


def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        find_port("127.0.0.1", taken.getsockname()[1])


def without(module, monkeypatch, call):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith(module):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    call()


def not_installed(monkeypatch):
    monkeypatch.setattr(package_checks, "find_spec", lambda _: None)
    package_checks.require_package("accelerate", "training")


def run_there(changes=(), *, resume=False):
    write_description(load_config("tiny"), Path())
    check_folder(load_config("tiny", changes), Path(), resume=resume)


def open_clip_missing(monkeypatch):
    from mmgrad_explain.composers.openclip.composer import OpenClipComposer

    monkeypatch.setitem(sys.modules, "open_clip", None)
    OpenClipComposer.from_pretrained(Path(), "mine")


def phrases():
    """Looks for the image of a phrase."""
    entry = {"image_id": 1, "bbox": [0, 0, 1, 1], "phrase": "a dog"}
    read_phrases(
        folder(a={"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [entry]}) / "a.json"
    ).require_images()


def pickled(value):
    Path("a.p").write_bytes(pickle.dumps(value))
    return Path("a.p")


def coco(name="a.jpg"):
    images = [{"id": 1, "file_name": name, "height": 4, "width": 4}]
    Path("photos").mkdir()
    Path("coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    read_coco(Path("photos"), Path("coco.json"))


PROVOKED = {
    # training
    "… needs …, which is not installed: pip install …": not_installed,
    "no config …: …give a YAML file or one of …": lambda m: load_config("tinny"),
    "unknown key …: …known: …": lambda m: load_config("tiny", ["stepz=3"]),
    "model.backbone_weights: say how these weights take pixels in [0, 1], by model.sizes.mean and…": lambda m: (
        ModelOptions(backbone_weights="weights.safetensors")
    ),
    "--set takes KEY=VALUE, for example grounding.weight=0, not …": lambda m: load_config("tiny", ["steps"]),
    "sources.….folder is missing: say where it is, --set sources.….folder=FOLDER": lambda m: build_source(
        load_config("tiny", ["sources.triplets={}"]).sources, 32
    ),
    "… holds …, but no run: a run would write over it; choose another folder, or move it away": lambda m: check_folder(
        load_config("tiny"), holding_a_model(), resume=False
    ),
    "… holds a run already: pass --resume to go on with it, or choose another folder": lambda m: run_there(
        resume=False
    ),
    "… holds a run with another …: use the same, or another --out": lambda m: run_there(["seed=7"], resume=True),
    "the batch of a step has … pictures, which … cannot share evenly: set the sources' pictures to a multiple of "
    "…": lambda m: Division(processes=2).own_references(3, 0),
    "…=… has no effect: the config decides, by …": lambda m: check_arguments(
        training_arguments(load_config("tiny"), Path(), learning_rate=1.0), load_config("tiny")
    ),
    "masks must lie in [0, 1], got … to …: …": lambda m: grounding_targets((4, 4), masks=torch.full((1, 4, 4), 255.0)),
    "maps must be (B, h, w), or (W, B, h, w) of several weightings; got …": lambda m: AttentionGroundingLoss()(
        torch.zeros(4, 4), None
    ),
    "… must both be (B, h, w), got … and …: grounding_targets() lays any mask on a map's grid": lambda m: dice_loss(
        torch.zeros(2, 4, 4), torch.zeros(2, 8, 8)
    ),
    "weights: there is no term …; …Known: …": lambda m: AttentionGroundingLoss(weights={"contrst": 1.0}),
    # data sets
    "no data set format …: …there are …": lambda m: read_cir("cir", "."),
    "--data … must be NAME:ROOT, for example cirr:datasets/CIRR": lambda m: cli("evaluate", "--data", "cirr"),
    "… has no category …: …": lambda m: read_cir("fashioniq", ".", [], ["skirt"]),
    "… is not a folder: give the one that holds …": lambda m: read_cir("cirr", "nowhere"),
    "… holds nothing of …: …": lambda m: read_cir("cirr", "."),
    "… is not a COCO annotation file: it has no list …": lambda m: read_coco(Path(), folder(a={}) / "a.json"),
    "none of the photographs of … is in … (the first: …): give the folder that its file names are relative "
    "to": lambda m: coco(),
    "… is not a triplet set: it holds no …": lambda m: read_triplets(Path()),
    "… of … images of … are missing: …; name their folder (images=, --images), or fetch them": lambda m: phrases(),
    "… is a pickle that calls ….…: only plain lists, dicts, strings and numbers are read from a pickle, since code in "
    "it would run": lambda m: read_plain_pickle(pickled(print)),
    "… …: write NAME:ROOT, with NAME one of …": lambda m: read_phrases(folder(a={})),
    "… is not empty: …": lambda m: cli("data", "scenes", "--out", folder(a={}), "--count", 1),
    "… holds …, which no build of a set has written: move it away, or choose another folder": lambda m: beside_a_set(),
    "… is in use by another process: wait until it is done, or choose another folder": lambda m: twice_in(Path("set")),
    # gallery
    "a gallery is kept by Milvus, which cannot be imported (…)…": lambda m: without(
        "pymilvus", m, lambda: Gallery("mine.db", "reference", create=True)
    ),
    "there is no gallery at …: make it first, mmgrad-explain index FOLDER --gallery …": lambda m: Gallery("mine.db"),
    "gallery … must be a path that ends in .db, or an address such as http://host:19530": lambda m: Gallery("mine"),
    "gallery … is new and empty: index folders, whose images choose a model, or name a model (…)": lambda m: (
        Gallery("mine.db", create=True).composer
    ),
    "model: the images do not tell which bundled model to take (of … looked at, …): name one (model=, or --model on "
    "the command line): …": lambda m: choose_by_images([]),
    "text …: model … …: use words that it knows (… ...), or …": lambda m: check_understood(
        load_composer("reference"), "remove the zeppelin", "take another"
    ),
    "there is no session …: begin one with an image, retrieve IMAGE TEXT --session …": lambda m: Session.load("s"),
    "there is no hit …: the last turn found …": lambda m: Session("mine.db", "pictures", "abc").hit(3),
    # the page and the command line
    "the page has no model …: choose one of …": lambda m: Models().choose_model("/etc", [], ["make it red"]),
    "standard input is empty: pipe a picture into it, or name a file instead of -": lambda m: (
        m.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO())) or cli("overlay", "-", "make it red")
    ),
    "give …; got … arguments: put quotes around the text": lambda m: cli("retrieve", "q.jpg", "make", "it", "red"),
    "--out … must end in .png, .jpg or .npz, or say --format": lambda m: cli(
        "overlay", picture(), "make it red", "--out", "a.gif"
    ),
    "--out … and --format … disagree": lambda m: cli(
        "overlay", picture(), "make it red", "--out", "a.png", "--format", "jpg"
    ),
    "… is there already: choose another name or ask to overwrite": lambda m: cli(
        "overlay", picture(), "make it red", "--out", picture()
    ),
    "… draws several maps of one picture: leave out --target, --words and --format npz": lambda m: cli(
        "overlay", "q.jpg", "make it red", "--phrases", "--words"
    ),
    "--alpha must be between 0 and 1, got …": lambda m: cli("overlay", "q.jpg", "make it red", "--alpha", 3),
    "--threshold must be at least 0 and below 1, got …": lambda m: cli(
        "overlay", "q.jpg", "make it red", "--threshold", 3
    ),
    # the page
    "the page is made with Gradio, which cannot be imported (…)…": lambda m: without("gradio", m, check_gradio),
    "port … is taken: name another with --port, or leave it out to have a free one found": lambda m: taken_port(),
    "host … is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them": lambda m: find_port(
        "192.0.2.1", None
    ),
    "… is larger than … MB: shrink it": lambda m: read_image(picture(), "big.png", Limits(upload_mb=1e-5)),
    "… is no longer here, since files are kept for an hour: give it again": lambda m: read_image(
        "gone.jpg", "gone.jpg", Limits()
    ),
    "… sentences are too many at once: give up to …, one a line": lambda m: split_sentences("red\n" * 99, Limits()),
    # extras
    "… is a model of open_clip, which cannot be imported (…)…": open_clip_missing,
}


@pytest.mark.parametrize("quoted", PROVOKED)
def test_it_is_said_so(quoted, provoke, monkeypatch):
    provoke(quoted, lambda: PROVOKED[quoted](monkeypatch))
