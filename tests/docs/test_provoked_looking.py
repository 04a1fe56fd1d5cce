"""Messages of the troubleshooting page, provoked: pictures, models, layers, scores, devices."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torchvision import transforms

from mmgrad_explain import Layout, MMGrad, candidate_layers, explain, load_composer, phrase_maps
from mmgrad_explain.composers.generative.answer_parts import parts_of_each, place_of_part
from mmgrad_explain.composers.load import _bundled_folder
from mmgrad_explain.errors import MMGradError, MMGradWarning
from mmgrad_explain.images.overlay import blend, colorize
from mmgrad_explain.images.reading import open_image


class Net(nn.Module):
    """Pictures and words to (B, 6)."""

    def __init__(self):
        super().__init__()
        self.words, self.body, self.unused = nn.Embedding(20, 6), nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(6, 6, 1)
        self.blocks, self.head = nn.ModuleList([nn.Conv2d(6, 6, 1)]), nn.Linear(6, 6)

    def forward(self, pixels, ids):
        return self.head(self.blocks[0](self.body(pixels)).mean((2, 3)) * self.words(ids).mean(1))


class OfPixels(nn.Module):
    """A model of pictures alone, made of a function of the model and the pixels."""

    def __init__(self, forward):
        super().__init__()
        self.body, self.mix, self.kept = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 6), None
        self.attention, self.does = nn.MultiheadAttention(6, 2, batch_first=True), forward

    def forward(self, pixels):
        return self.does(self, pixels)

    def tokens(self, pixels):
        """Patches (B, 16, 6)."""
        return self.body(pixels).flatten(2).transpose(1, 2)


class Two(nn.Module):
    """Two pictures, each through a layer of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, reference, target):
        return (self.one(reference).mean((2, 3)) * self.other(target).mean((2, 3))).sum(1)


class Both(nn.Module):
    """One picture through two networks; both their grids are handed on."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 6, 2, stride=2), nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, pixels):
        return self.fine(pixels), self.coarse(pixels)


class Ways(nn.Module):
    """A score of both."""

    def __init__(self):
        super().__init__()
        self.both = Both()

    def forward(self, pixels):
        return sum(grid.mean((1, 2, 3)) for grid in self.both(pixels))


PIXELS, IDS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([[1, 2], [3, 4]])
PICTURE = Image.new("RGB", (40, 30), (120, 130, 140))


def first(output):
    return output[:, 0]


def two(layer):
    return MMGrad(Two().eval(), layer)(PIXELS, PIXELS)


def net(score=first, layer="body", **options):
    return MMGrad(Net().eval(), layer, score, **options)(PIXELS, IDS)


def of(forward, layer="body", score=first, **options):
    return MMGrad(OfPixels(forward).eval(), layer, score, **options)(PIXELS)


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


def captured(mmgrad, *, backward=False):
    with mmgrad.capture() as seen:
        score = mmgrad.model(PIXELS, IDS)[:, 0]
    if backward:
        score.sum().backward()
    return score, seen


def in_a_thread():
    mmgrad = MMGrad(Net(), "body")
    with mmgrad.capture() as seen:
        other = threading.Thread(target=mmgrad.model, args=(PIXELS, IDS))
        other.start()
        other.join()
    mmgrad.attend(torch.zeros(2, requires_grad=True), seen)


def fused_attention():
    def forward(model, pixels):
        tokens = model.tokens(pixels)[:, None].contiguous()
        return functional.scaled_dot_product_attention(tokens, tokens, tokens).mean((1, 2))

    model = OfPixels(forward)
    mmgrad = MMGrad(model, "body")
    with mmgrad.capture(math_attention=False) as seen:
        score = model(PIXELS)[:, 0]
    mmgrad.attend(score, seen, create_graph=True)


class Keeping(nn.Linear):
    """Keeps what it gives."""

    def forward(self, x):
        self.given = super().forward(x)
        return self.given


def reused(model, pixels):
    """A layer gives what the model goes on using."""
    model.kept = model.tokens(pixels)
    mixed = model.mix(model.kept)
    model.mix.given.add_(1)
    return mixed.mean(1)


def changed_in_place():
    model = OfPixels(reused)
    model.mix = Keeping(6, 6)
    MMGrad(model, "mix", first)(PIXELS)


def partly_inference(model, pixels):
    with torch.inference_mode():
        gain = model.mix(torch.ones(6))
    return model.body(pixels).mean((2, 3)) * gain


def made_on(where):
    with where:
        return Net()


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
    "the map of call … is flat": lambda m: notes(
        of(lambda model, pixels: (model.body(pixels), model.body(0 * pixels))[0].mean((2, 3)))
    ),
    "the image is unlike what the model was trained on (…): do not trust the map; …": lambda m: notes(
        explain(Image.effect_noise((64, 64), 200), "make it red", model="reference")
    ),
    "…: the model does not know …; left out": lambda m: notices("make the hjkl red"),
    "…: the model …: do not trust the map": lambda m: notices("remove the hjkl"),
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
        ["a", "dog"], 3
    ),
    "answer_part: … is not in the answer …": lambda m: place_of_part("cat", "a dog"),
    # layers and layouts
    "target_layers: … has no layer …": lambda m: net(layer="bodyy"),
    "target_layers is a …, which is never called itself: name one of its members": lambda m: MMGrad(
        model := Net(), model.blocks
    ),
    "target_layers: … is the out_proj of an nn.MultiheadAttention, which reads its weights and never calls it: "
    "take the attention itself (…) or the layer around it": lambda m: of(None, "attention.out_proj"),
    "target_layers: no layer of the model has both a spatial grid and a gradient from the score; name one (with "
    "layout= where its output is no grid), or use load_composer for tiled or packed images": lambda m: of(
        lambda model, pixels: model.mix(model.tokens(pixels)[:, :7].detach()).mean(1), None
    ),
    "target_layers: none was named, and capture() cannot look for one: name it, or call mmgrad(...) once, which finds "
    "and remembers it": lambda m: MMGrad(Net()).capture(),
    "target_layers: the score takes what it sees from several layers side by side, and it is not clear which one is "
    "meant: …; name one, or several whose maps are fused": lambda m: MMGrad(Ways(), score=lambda output: output)(
        PIXELS
    ),
    "target_layers: layer … gives several grids that the score uses; name one: …": lambda m: MMGrad(Ways(), "both")(
        PIXELS
    ),
    "target_layers: no layer sees one batch of all samples; layer … …": lambda m: of(
        lambda model, pixels: model.body(pixels.repeat(3, 1, 1, 1)).unflatten(0, (3, -1)).mean((0, 3, 4)), None
    ),
    "layer … has no part …: …": lambda m: net(layer="body[1]"),
    "layer … never ran in this forward: …": lambda m: net(layer="unused"),
    "layer … ran only in another thread than the one that captures: run the model in the same thread": lambda m: (
        in_a_thread()
    ),
    "layer … returned …: a map needs a floating tensor with at least 3 dimensions, so choose another layer": lambda m: (
        net(layer="head")
    ),
    "the output of layer … was changed in place after it was recorded (what the layer returned is a tensor that the "
    "model goes on using): choose the layer before or after it": lambda m: changed_in_place(),
    "layout: cannot tell how an output of shape … lies on a grid; name it with layout='nchw', layout='nhwc', "
    "layout=Layout('tokens', grid=(h, w), prefix=k), or a callable that gives (B, K, h, w)": lambda m: of(
        lambda model, pixels: model.mix(model.tokens(pixels).unflatten(1, (2, 4, 2))).mean((1, 2, 3)), "mix"
    ),
    "layout: … prefix tokens and a grid of … x … are more than the … tokens of an output of shape …": lambda m: of(
        lambda model, pixels: model.mix(model.tokens(pixels)).mean(1), "mix", layout=Layout("tokens", (9, 9), 0)
    ),
    "layout: the callable must give (B, K, h, w), not …, of …": lambda m: net(layout=lambda x: x[0]),
    "image_grid_thw: the patches of all images come packed into one list, in an order that only the model knows: "
    "…": lambda m: candidate_layers(Net(), PIXELS, IDS, image_grid_thw=torch.ones(1, 3)),
    "spatial_shapes: images of several shapes have no grid in common: explain them one at a time": lambda m: (
        candidate_layers(Net(), PIXELS, IDS, spatial_shapes=torch.tensor([[2, 8], [4, 4]]))
    ),
    "fuse: there is no …; …Known: …, or any callable": lambda m: net(fuse="men"),
    # scores and gradients
    "score: the model's output, a …, does not say by itself what to explain; …": lambda m: net(None),
    "… (score was guessed: …; pass score= to choose another)": lambda m: of(
        lambda model, pixels: {"score": model.tokens(pixels).mean((1, 2)).detach()}, "body", None
    ),
    "score: there is no …; …Known: …, or any callable": lambda m: net("shfit"),
    "score must have one number a sample, but it has shape … while the target layer …": lambda m: of(
        lambda model, pixels: torch.cat([model.body(one[None]).mean((2, 3)) for one in pixels])
    ),
    "score must have one number a sample, shape (…,): it has shape … while the target layer saw a batch of …. Do not "
    "average over the batch; repeat the image for several texts": lambda m: net(torch.mean),
    "score must be a floating tensor with one number a sample, not …": lambda m: net(lambda output: output.argmax(-1)),
    "score must return a tensor with one number a sample, not …": lambda m: net(lambda output: 3.0),
    "score 'similarity' needs a target embedding: pass Similarity(target=...) or a target image to the model"
    "…": lambda m: net("similarity"),
    "score … needs both the reference and the target composed with the text: …": lambda m: net("pair"),
    "score 'shift' needs an output with .shift or .empty (the embedding for an empty text), or "
    "TextShift(empty=...)": lambda m: net("shift"),
    "score 'image-text' needs an embedding of the image and one of the text …": lambda m: net("image-text"),
    "score 'match': this model gives no match logit: use its default score, or a callable that gives one number a "
    "sample": lambda m: net("match"),
    "score 'answer' needs an output with logits (batch, places, vocabulary) and the answer's token ids: …": lambda m: (
        net("answer")
    ),
    "weighting: there is no …; …Known: …, or any callable": lambda m: net(weighting="grad-cam"),
    "weighting must return a map of shape (B, h, w) = …, not …": lambda m: net(weighting=lambda a, _: a),
    "the score does not depend on layer …: …": lambda m: net(lambda output: output.detach()[:, 0]),
    "the score's gradient is zero on every patch of layer …: what follows it reads only the class token, so "
    "…": lambda m: of(lambda model, x: model.mix(functional.pad(model.tokens(x), (0, 0, 1, 0)))[:, 0], "mix"),
    "the score depends on no layer with at least three dimensions: name target_layers, or check that the score is "
    "computed from the model's output without .detach() or torch.no_grad()": lambda m: net(
        lambda output: output.detach()[:, 0], None
    ),
    "the score is not finite for samples …: check the inputs; in half precision try bfloat16 or float32": lambda m: net(
        lambda output: output[:, 0] / 0
    ),
    "the map is not finite: the activations or gradients overflow; try bfloat16 or float32": lambda m: net(
        weighting=lambda a, _: a[:, 0] / 0
    ),
    "the gradient of fused attention cannot be differentiated again: …": lambda m: fused_attention(),
    "the graph of this forward was freed already: attend before loss.backward(), or retain it there (…)": lambda m: (
        mmgrad := MMGrad(Net(), "body")
    ).attend(*captured(mmgrad, backward=True)),
    "call: layer … ran … time(s): call must be 0 to …, not …": lambda m: (mmgrad := MMGrad(Net(), "body")).attend(
        *captured(mmgrad), call=3
    ),
    "seen was recorded for another model: use the capture() of the same MMGrad": lambda m: MMGrad(Net(), "body").attend(
        *captured(MMGrad(Net(), "body"))
    ),
    "words: no nn.Embedding of the model was called with whole numbers from its own inputs; pass the token ids to the "
    "model, or name the embedding as words_layer=": lambda m: of(
        lambda model, pixels: model.body(pixels).mean((2, 3)), words=True
    ),
    "texts: … does not say how to encode an image by itself; pass both encode= (image to features) and compose= "
    "(features and texts to an output), or explain the texts one by one": lambda m: MMGrad(Net(), "body", first).texts(
        PIXELS[:1], IDS
    ),
    # memory and devices
    "device … is not there: … CUDA devices found; use cpu": lambda m: explain(
        PICTURE, "make it red", device=f"cuda:{torch.cuda.device_count()}"
    ),
    "device … is unknown: use cpu, cuda, cuda:N or mps": lambda m: explain(PICTURE, "make it red", device="gpu"),
    "model: … is on the meta device and has no values: load the weights first, for example with "
    "model.to_empty(device=...) and model.load_state_dict(...)": lambda m: MMGrad(
        made_on(torch.device("meta")), "body", first
    )(PIXELS, IDS),
    "the model's parameters were made under torch.inference_mode(), so that no gradient can pass them: build or load "
    "the model outside that block": lambda m: MMGrad(made_on(torch.inference_mode()), "body", first)(PIXELS, IDS),
    "a part of the model runs inside a torch.inference_mode() block of its own, which cannot be undone from outside: "
    "use torch.no_grad() there": lambda m: of(partly_inference),
    # compiled, distributed, checkpointed
    "model is an nn.DataParallel, whose replicas run in threads of their own: pass model.module, or use "
    "DistributedDataParallel (one process a GPU)": lambda m: MMGrad(nn.DataParallel(Net())),
    "… inside a checkpoint; …": lambda m: of(
        lambda model, pixels: checkpoint(model.body, pixels, use_reentrant=True).mean((2, 3))
    ),
}


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning", "ignore:None of the inputs:UserWarning")
@pytest.mark.parametrize("quoted", PROVOKED)
def test_it_is_said_so(quoted, provoke, monkeypatch):
    provoke(quoted, lambda: PROVOKED[quoted](monkeypatch))
