"""What tests of the documentation share."""

import functools
import json
import re
import shlex
import shutil
import socket
import sys
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import MMGradError
from mmgrad_explain.web import server as serving

ROOT = Path(__file__).parents[2]
HUB = {
    "openai/clip-vit-base-patch32": "clip",
    "llava-hf/llava-1.5-7b-hf": "llava",
    "CIDAS/clipseg-rd64-refined": "clipseg",
}
PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.fixture(scope="session")
def page():
    """The troubleshooting page."""
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def entries(page):
    """The messages that it quotes: code alone in a line, and an answer below."""
    return re.findall(r"^`([^`\n]+)`\n: ", page, re.MULTILINE)


@pytest.fixture
def provoke(entries, tmp_path, monkeypatch):
    """Have something refused in an empty folder, and compare what is said with what the page quotes."""
    monkeypatch.chdir(tmp_path)

    def check(quoted, call):
        assert quoted in entries
        with pytest.raises((MMGradError, TypeError)) as raised:
            call()
        said = "\n".join(" ".join(line.split()) for line in str(raised.value).splitlines())
        pattern = ".*".join(map(re.escape, re.split("…+", quoted)))
        assert re.search(f"^(layer \\S+: )?{pattern}$", said, re.MULTILINE), said

    return check


# ------------------------------------------------------------------------------------------------- what a reader has


def photographs(folder):
    """Eight pictures, which a bundled model knows, their COCO annotations, and index masks."""
    images, annotations = [], []
    for name in ("photos", "labels", "train2017", "val2017", "panoptic_val2017", "more"):
        (folder / name).mkdir()
    for number in range(8):
        pixels = next(scenes(5, 1, size=120, start=(2, 3, 6, 7)[number % 4])).reference.copy()
        labels = np.zeros((120, 120), np.uint8)
        for category, (left, top, color) in enumerate([(10, 12, (40, 60, 170)), (65, 60, (40, 150, 60))], 1):
            x, y = left + number, top + number
            pixels[y : y + 40, x : x + 40] = color
            labels[y : y + 40, x : x + 40] = category
            corners = [x, y, x + 40, y, x + 40, y + 40, x, y + 40]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0, "area": 1600,
                 "bbox": [x, y, 40, 40], "segmentation": [corners]}
            )  # fmt: skip
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 120, "height": 120})
        for name in ("photos", "train2017", "val2017"):
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
        Image.fromarray(labels[..., None] * np.uint8([1, 0, 0])).save(folder / "panoptic_val2017" / f"{number}.png")
    shutil.copy(folder / "photos" / "0.jpg", folder / "more" / "other.jpg")
    (folder / "labels" / "labels.json").write_text(json.dumps(["null", "coat", "skin"]))
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "bus"}]
    made = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_train2017.json").write_text(json.dumps(made))
    segments = [{"id": i, "category_id": i, "area": 1600, "bbox": [0, 0, 40, 40], "iscrowd": 0} for i in (1, 2)]
    made["annotations"] = [
        {"image_id": number, "file_name": f"{number}.png", "segments_info": segments} for number in range(8)
    ]
    made["categories"] = [{**category, "isthing": 1} for category in categories]
    (folder / "panoptic_val2017.json").write_text(json.dumps(made))
    garments = folder / "FOLDER"
    shutil.copytree(folder / "photos", garments / "photos")
    shutil.copytree(folder / "labels", garments / "labels", ignore=shutil.ignore_patterns("*.json"))
    (garments / "labels.json").write_text(json.dumps(["null", "coat", "bag"]))
    save_file(timm.create_model("mobilenetv2_100").state_dict(), folder / "FILE")


def noise(file, seed):
    """A small picture of nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file)


def fashioniq(folder):
    """FashionIQ, small: a query of each category to train on, and to evaluate; enough pictures for recall at 50."""
    for category in ("dress", "shirt", "toptee"):
        names = [f"B{category}{number}" for number in range(51)]
        query = {"target": names[1], "candidate": names[0], "captions": ["is solid white", "is lighter"]}
        for path, content in ((f"captions/cap.{category}", [query]), (f"image_splits/split.{category}", names)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{path}.val.json").write_text(json.dumps(content))
            (folder / f"{path}.train.json").write_text(json.dumps(content[:2]))
        for number, name in enumerate(names):
            noise(folder / "images" / f"{name}.jpg", number)


def cirr(folder, split, prefix):
    """One part of CIRR, small: enough pictures for recall at 50. The targets of ``test1`` are not public."""
    names = [f"{prefix}-{number}-0-img0" for number in range(244, 300)]
    for number, name in enumerate(names):
        noise(folder / "img_raw" / prefix / f"{name}.png", number)
    members = {"id": 1, "members": names[:6], "reference_rank": 0, "target_rank": 1}
    query = {"pairid": 7, "reference": names[0], "caption": "make it red", "img_set": members}
    query |= {} if split == "test1" else {"target_hard": names[1], "target_soft": {names[1]: 1.0}}
    paths = {name: f"./{prefix}/{name}.png" for name in names}
    for path, content in (("captions/cap", [query]), ("image_splits/split", paths)):
        file = folder / f"{path}.rc2.{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))


def circo(folder):
    """CIRCO's test part, small: the gallery is COCO's, and the right answers are not public."""
    coco = folder / "COCO2017_unlabeled"
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in range(1, 61)]
    queries = [{"reference_img_id": 4, "relative_caption": "has two dogs", "shared_concept": "a dog", "id": 0}]
    for file, content in (
        (folder / "annotations" / "test.json", queries),
        (coco / "annotations" / "image_info_unlabeled2017.json", {"images": images}),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content))
    for image in images:
        noise(coco / "unlabeled2017" / image["file_name"], image["id"])


@pytest.fixture(scope="session")
def belongings(tmp_path_factory, write_clipseg):
    """What a reader has: pictures, data, models, and a cache of the model hub."""
    folder = tmp_path_factory.mktemp("belongings")
    mine = folder / "mine"
    shutil.copytree(ROOT / "examples", mine / "examples", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in ("photo.jpg", "query.jpg", "target.jpg", "dog.jpg", "a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(ROOT / "examples" / "query.jpg", mine / name)
    photographs(mine)
    cirr(mine / "datasets" / "CIRR", "val", "dev")
    cirr(mine / "CIRR", "test1", "test1")
    fashioniq(mine / "fashion-iq")
    shutil.copytree(mine / "fashion-iq", mine / "datasets" / "fashion-iq")
    circo(mine / "CIRCO")
    stand_in("clip", mine / "my-model")
    for hub_id, kind in HUB.items():
        place = folder / "hub" / f"models--{hub_id.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("0" * 40)
        made = place / "snapshots" / ("0" * 40)
        if kind == "clipseg":
            made.mkdir(parents=True)
            write_clipseg(made)
        else:
            stand_in(kind, made)
    (folder / "bin").mkdir()
    script = folder / "bin" / "mmgrad-explain"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mmgrad_explain "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def reader(belongings, tmp_path, monkeypatch):
    """A reader's folder, as the working folder; the model hub is its cache alone."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(belongings / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(belongings / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PATH", f"{belongings / 'bin'}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("FREE_PORT", str(port))

    def look_at_the_page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.status == 200

    monkeypatch.setattr(serving, "wait", look_at_the_page)
    shutil.copytree(belongings / "mine", tmp_path / "reader")
    monkeypatch.chdir(tmp_path / "reader")
    return tmp_path / "reader"
