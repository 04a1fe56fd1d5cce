"""Messages of the troubleshooting page, provoked: layers and layouts, scores and gradients, devices."""

import threading

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmgrad_explain import Layout, MMGrad, candidate_layers, explain


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


def net(score=first, layer="body", **options):
    return MMGrad(Net().eval(), layer, score, **options)(PIXELS, IDS)


def of(forward, layer="body", score=first, **options):
    return MMGrad(OfPixels(forward).eval(), layer, score, **options)(PIXELS)


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


PROVOKED = {
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
