"""Messages of the troubleshooting page, provoked: notes, images and texts, models."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from mmgrad_explain import MMGrad, explain, load_composer, phrase_maps
from mmgrad_explain.attention.methods.answers.relative_attention import _note_sinks
from mmgrad_explain.composers.generative.answer_parts import parts_of_each, place_of_part
from mmgrad_explain.composers.load import _bundled_folder
from mmgrad_explain.errors import MMGradError, MMGradWarning
from mmgrad_explain.images.overlay import blend, colorize
from mmgrad_explain.images.reading import open_image


class Net(nn.Module):
    """Pictures to (B, 6)."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, pixels):
        return self.body(pixels).mean((2, 3))


class Twice(Net):
    """The layer runs again, on nothing."""

    def forward(self, pixels):
        return (super().forward(pixels), self.body(0 * pixels))[0]


class Two(nn.Module):
    """Two pictures, each through a layer of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, reference, target):
        return (self.one(reference).mean((2, 3)) * self.other(target).mean((2, 3))).sum(1)


PIXELS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PICTURE = Image.new("RGB", (40, 30), (120, 130, 140))


def two(layer):
    return MMGrad(Two().eval(), layer)(PIXELS, PIXELS)


def net(model=Net, **options):
    return MMGrad(model().eval(), "body", lambda output: output[:, 0], **options)(PIXELS)


def written(name, content=b""):
    Path(name).write_bytes(content)
    return name


def folder(**files):
    """A folder with these JSON files."""
    Path("made").mkdir()
    for name, content in files.items():
        Path("made", f"{name}.json").write_text(json.dumps(content))
    return Path("made")


def bundled(leave_out="", **changes):
    """A copy of the reference model without a file, or with another config."""
    shutil.copytree(_bundled_folder("reference"), "copied", ignore=lambda *_: [leave_out])
    config = json.loads(Path("copied/config.json").read_text())
    Path("copied/config.json").write_text(json.dumps({**config, **changes}))
    return Path("copied")


def half_a_picture():
    Image.effect_noise((64, 64), 50).save("whole.png")
    return written("half.png", Path("whole.png").read_bytes()[:900])


def flat():
    return net(weighting=lambda a, _: torch.zeros_like(a[:, 0]))


def offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_composer("someone/model")


def not_on_the_hub(monkeypatch):
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    def refuse(*_, **__):
        raise HfHubHTTPError(
            "404 Client Error", response=httpx.Response(404, request=httpx.Request("GET", "http://hub"))
        )

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    load_composer("someone/model")


def notes(explanation):
    """Notes as if they were raised."""
    raise MMGradError("\n".join(map(str, explanation.notes)))


def warned(ask):
    """A warning as if it were raised."""
    with pytest.warns(MMGradWarning) as caught:
        ask()
    raise MMGradError(str(caught[-1].message))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 16)).save("turned.jpg", exif=exif)
    return "turned.jpg"


def undone(transform):
    net().heatmap(image=PICTURE, placement=transform)


def notices(text):
    composer = load_composer("reference")
    raise MMGradError("\n".join(map(str, composer.preprocess([PICTURE], [text]).notices)))


def in_memory(class_name, processor=None):
    """A small model of transformers, handed in."""
    import transformers

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = {**sizes, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(text_config={**sizes, "vocab_size": 9}, vision_config=vision)
    own = None if processor is None else getattr(transformers, processor)()
    return explain(PICTURE, "red", model=getattr(transformers, class_name)(config), processor=own)


PROVOKED = {
    # notes
    "the map is empty: the score falls with the activation everywhere in it, and the ReLU removed all of "
    "it…": lambda m: notes(net(weighting=lambda a, _: -torch.ones_like(a[:, 0]))),
    "the map is flat: no place counts more than another…": lambda m: notes(flat()),
    "the map of call … is flat": lambda m: notes(net(Twice)),
    "the image is unlike what the model was trained on (…): do not trust the map; …": lambda m: notes(
        explain(Image.effect_noise((64, 64), 200), "make it red", model="reference")
    ),
    "…: the model does not know …; left out, read as …": lambda m: notices("make the hjkl red"),
    "…: the model …: do not trust the map": lambda m: notices("remove the hjkl"),
    "… of the answer's attention to the image is at its border, as in attention sinks; the neutral question's is "
    "divided out": lambda m: notes(
        SimpleNamespace(notes=_note_sinks({"block": torch.eye(16)[None, :1].expand(1, 16, 16)}))
    ),
    "the text has … words, the model takes …: the rest was cut": lambda m: notices("red " * 100),
    # pictures and texts
    "no such file: …": lambda m: open_image("nowhere.jpg"),
    "… is a folder: name an image in it": lambda m: open_image(Path()),
    "… is not an image of a known format (convert HEIC to JPEG first)": lambda m: open_image(written("a.jpg", b"abc")),
    "… is empty (0 bytes)": lambda m: open_image(written("a.jpg")),
    "… is truncated or damaged: …": lambda m: open_image(half_a_picture()),
    "… is too large to decode: …. Shrink it, or raise max_pixels (…)": lambda m: open_image(PICTURE, max_pixels=10),
    "… has values from … to …: give floats in [0, 1] or [0, 255], or integers from 0 up (undo a model's normalization "
    "first)": lambda m: explain(torch.randn(3, 8, 8), "make it red"),
    "… holds NaN or infinite values": lambda m: explain(torch.full((3, 8, 8), torch.nan), "make it red"),
    "an image has shape (H, W), (H, W, 1|3|4) or (1|3|4, H, W), not …": lambda m: explain(PIXELS, "make it red"),
    "an image is a path, bytes, binary file, PIL image, array or tensor, not …": lambda m: explain(3, "make it red"),
    'text is empty: say what should change, for example "make it red"': lambda m: explain(PICTURE, " "),
    "text must be a string or a list of strings, got …": lambda m: explain(PICTURE, [None]),
    "… …s for … samples: give one for all, or one each": lambda m: explain([PICTURE] * 2, ["make it red"] * 3),
    "phrases: … is not a part of …": lambda m: phrase_maps(PICTURE, "make it red", phrases=["blue"]),
    "index must be below …, the number of samples, not …": lambda m: net().heatmap(5),
    "image: the explanation does not know its image: pass image=": lambda m: net().overlay(),
    "image: its shape, …, is not that of …, …, so that the map is stretched over the image. …": lambda m: warned(
        lambda: net().overlay(image=PICTURE)
    ),
    "… is stored rotated (EXIF) and is drawn upright: …": lambda m: warned(lambda: net().overlay(image=turned())),
    "placement: … puts the image in another place each time: …": lambda m: undone(transforms.RandomCrop(16)),
    "placement: … puts the image in an unknown place: …": lambda m: undone(lambda image: image),
    "placement: it is for an input of … pixels, and the model was given one of …: pass the transform that made "
    "this input": lambda m: undone(transforms.Resize(8)),
    "placement: pass image= too: where a transform puts an image depends on the size of the image": lambda m: (
        net().heatmap(placement=transforms.Resize(8))
    ),
    "the map of sample … is flat: it has no peak": lambda m: flat().peak(),
    "target: the explanation does not know its image: pass target=": lambda m: two("other").overlay(),
    "the map is of …: the layer does not depend on …; ask with target=True, or choose another layer": lambda m: two(
        "other"
    ).peak(),
    "target: there is no map of …: the layer does not depend on it": lambda m: two("one").peak(target=True),
    "target: the layer ran once, so there is no map of a target; pass a target to the model too": lambda m: net().peak(
        target=True
    ),
    "words: the explanation has none; ask for them with words=True when explaining": lambda m: net().overlay(
        image=PICTURE, words=True
    ),
    "heat must be in [0, 1], not from … to …: divide it by its maximum first": lambda m: blend(
        PICTURE, np.full((4, 4), 3.0)
    ),
    "unknown colormap …: try …": lambda m: colorize(np.zeros((2, 2)), "turbp"),
    "folder: … exists; choose another one or pass overwrite=True": lambda m: net().save(folder()),
    # models and the hub
    "no model …: …give a bundled name (…), a folder, or a hub id owner/name": lambda m: load_composer("referense"),
    "the model hub cannot be reached for …, and the model is not in the local cache…": offline,
    "the model hub does not give …: …": not_on_the_hub,
    "… is a file, not a model folder: give the folder that holds config.json": lambda m: load_composer(
        written("model.bin")
    ),
    "… is not a model folder: it has no … (expected … and …)": lambda m: load_composer(folder()),
    "… has no weights: expected … (or …)": lambda m: load_composer(bundled("model.safetensors")),
    "… was not loaded: it is damaged or holds more than weights, and code is never run…": lambda m: load_composer(
        Path(written(bundled("model.safetensors") / "pytorch_model.bin", b"abc")).parent
    ),
    "the weights in … do not fit its config.json: …": lambda m: load_composer(bundled(embed_dim=8)),
    "… is a … model…: supported types are …": lambda m: load_composer(folder(config={"model_type": "t5"})),
    "answer: … does not answer in words: leave answer and answer_part out": lambda m: explain(
        PICTURE, "make it red", answer="yes"
    ),
    "processor: a … in memory does not say how images and texts become tensors: give processor=…": lambda m: in_memory(
        "CLIPModel"
    ),
    "processor: the … of the … is missing: give processor=…": lambda m: in_memory("CLIPModel", "CLIPImageProcessor"),
    "model is a …: of …, a … can be explained": lambda m: in_memory("CLIPForImageClassification"),
    "model is a …, which is neither of transformers nor of open_clip: …": lambda m: load_composer(Net()),
    "… names no base model (base_model_name_or_path): …": lambda m: load_composer(folder(adapter_config={})),
    "answer_part is empty: …": lambda m: place_of_part("", "a dog"),
    "answer_part: … is … times in the answer …: …": lambda m: place_of_part("a", "a dog and a cat"),
    "answer_part: … for … answers: give one part for all, one each, or a list of parts each": lambda m: parts_of_each(
        ["a", "dog"], ["a dog"] * 3
    ),
    "method: … explains models that answer in words from one sequence of image and text, and … does not say where its "
    "answers lie: …": lambda m: net(method="token-activation"),
    "answer_part: … is not in the answer …": lambda m: place_of_part("cat", "a dog"),
}


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning", "ignore:None of the inputs:UserWarning")
@pytest.mark.parametrize("quoted", PROVOKED)
def test_it_is_said_so(quoted, provoke, monkeypatch):
    provoke(quoted, lambda: PROVOKED[quoted](monkeypatch))
