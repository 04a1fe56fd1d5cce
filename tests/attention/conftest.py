"""Tiny models and the checks that many tests of the method share."""

import contextlib
import copy
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional


class CNN(nn.Module):
    """Pictures to logits; ``late`` is the last grid, at a quarter of the picture's size."""

    def __init__(self, channels=6, classes=5):
        super().__init__()
        self.early = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.late = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(channels, classes)

    def features(self, x):
        return self.late(functional.gelu(self.norm(self.early(x))))

    def forward(self, x):
        return self.head(self.drop(functional.gelu(self.features(x)).mean((2, 3))))


@dataclass
class Composed:
    """What a composed-image-retrieval model gives."""

    embedding: torch.Tensor
    shift: torch.Tensor | None = None
    empty: torch.Tensor | None = None
    target: torch.Tensor | None = None
    target_composed: torch.Tensor | None = None


class Tower(nn.Module):
    """Pictures to a feature grid."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.body = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x):
        return self.body(functional.gelu(self.stem(x)))


class Words(nn.Module):
    """Words to a vector; positions come from an embedding too."""

    def __init__(self, width=8, vocabulary=20):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(16, width)
        self.mix = nn.Linear(width, width)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)[None].expand(ids.shape)
        return torch.tanh(self.mix(self.tokens(ids) + self.positions(places))).mean(1)


class TwoInput(nn.Module):
    """Image and text (and target image), one tower for both images, text mixed into the grid by ``fusion``."""

    def __init__(self, width=8):
        super().__init__()
        self.tower = Tower(width)
        self.words = Words(width)
        self.gate = nn.Linear(width, width)
        self.fusion = nn.Conv2d(width, width, 1)
        self.out = nn.Linear(width, width)

    def compose(self, grid, text):
        gate = torch.sigmoid(self.gate(text))[:, :, None, None]
        return self.out(functional.gelu(self.fusion(grid * gate)).mean((2, 3)))

    def forward(self, image, ids, target=None):
        text = self.words(ids)
        embedding = self.compose(self.tower(image), text)
        if target is None:
            return Composed(embedding)
        grid = self.tower(target)
        plain = self.out(functional.gelu(self.fusion(grid)).mean((2, 3)))
        return Composed(embedding, target=plain, target_composed=self.compose(grid, text))


class Block(nn.Module):
    """A transformer block on fused attention."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.heads = heads

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer read at its class token (``pool="token"``) or at the mean of its patches."""

    def __init__(self, width=8, depth=3, *, patch=8, size=(16, 24), prefix=1, pool="token", classes=5):
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, width)) if prefix else None
        self.place = nn.Parameter(torch.randn(1, prefix + (size[0] // patch) * (size[1] // patch), width) * 0.1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.pool = pool

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        if self.prefix is not None:
            x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        x = x + self.place
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.pool == "token" else x.mean(1))


def build(kind, *args, seed=0, **kwargs):
    """A model with fixed random weights, in evaluation mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return kind(*args, **kwargs).eval()


def pictures(batch=2, size=(16, 24), seed=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def ids(batch=2, words=4, seed=2):
    return torch.randint(0, 20, (batch, words), generator=torch.Generator().manual_seed(seed))


def class_score(index=1):
    return lambda output: output[:, index]


def scaled(maps):
    """Min-max of each map, the common ground of all comparisons."""
    maps = maps.detach().double()
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def grad_cam(activation, gradient):
    """The textbook formula, written out for NCHW."""
    return torch.einsum("bk,bkhw->bhw", gradient.mean((2, 3)), activation).relu()


def tokens(prefix, grid):
    """How a reader of a model's code finds the patches: (B, N, K) to (B, K, h, w)."""
    return lambda x: x[:, prefix : prefix + grid[0] * grid[1]].unflatten(1, grid).permute(0, 3, 1, 2)


def run_at(model, layer, call):
    """What ``call()`` gives, and what each call of a layer gave on the way: the first tensor of its output."""
    outputs = []

    def keep(_module, _inputs, output):
        outputs.append(output if isinstance(output, torch.Tensor) else output[0])

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        return call(), outputs
    finally:
        handle.remove()


def plain_maps(model, layer, read, score, call):
    """Grad-CAM in a few lines, with nothing of this package: one map (B, h, w) a call of the layer."""
    output, activations = run_at(model, layer, call)
    gradients = torch.autograd.grad(score(output).sum(), activations)
    return [grad_cam(read(a).detach(), read(g)) for a, g in zip(activations, gradients, strict=True)]


def captured(mmgrad, model, *inputs, **options):
    """The output of a forward, and what was recorded of it."""
    with mmgrad.capture(**options) as seen:
        output = model(*inputs)
    return output, seen


@torch.no_grad()
def finds_cells(model, layer, read, call, picture, slack=0):
    """Return whether pixels that change in one cell's place change that very cell most, for several cells.

    ``call(picture)`` runs the model; the first call of the layer is looked at. ``slack`` cells beside it pass too.
    """
    before = read(run_at(model, layer, lambda: call(picture))[1][0])
    height, width = before.shape[2:]
    found = []
    for row, column in [(0, 0), (height - 1, 0), (height // 2, width - 1), (0, width - 2)]:
        marked = picture.clone()
        tall, wide = picture.shape[-2] // height, picture.shape[-1] // width
        place = marked[..., row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        place.copy_((place < place.mean()) * 4.0 - 2)
        change = (read(run_at(model, layer, lambda: call(marked))[1][0]) - before).square().sum(1)  # noqa: B023
        peaks = [divmod(int(one.argmax()), width) for one in change]
        found += [max(abs(y - row), abs(x - column)) <= slack for y, x in peaks]
    return all(found)


def state(model):
    """All that a call must leave alone."""
    return {
        "training": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))
            for m in model.modules()
        ],
        "values": copy.deepcopy(model.state_dict()),
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "rng": torch.get_rng_state(),
        "mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "sdpa": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()),
    }


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


@contextlib.contextmanager
def leaves_alone(model):
    """Fail if the block changes anything about the model or the process."""
    before = state(model)
    try:
        yield
    finally:
        after = state(model)
        for key, value in before.items():
            assert same(value, after[key]), f"{key} changed"


DOORS = ("call", "capture", "texts", "words", "captum")


def by_plain_autograd(model, image, ids):
    """What every door is to give for a :class:`TwoInput`: maps and words of one picture and each text, hook-free."""
    with torch.inference_mode(False), torch.enable_grad():
        model = copy.deepcopy(model).float().eval().requires_grad_(False)
        image = image.float()
        grid = model.tower(image.clone()).expand(len(ids), -1, -1, -1).clone().requires_grad_()
        embedded = model.words.tokens(ids.clone()).clone().requires_grad_()
        places = torch.arange(ids.shape[1], device=ids.device)[None].expand(ids.shape)
        text = torch.tanh(model.words.mix(embedded + model.words.positions(places))).mean(1)
        of_grid, word_gradients = torch.autograd.grad(model.compose(grid, text)[:, 0].sum(), (grid, embedded))
        return {"maps": grad_cam(grid, of_grid).detach(), "words": (word_gradients * embedded).sum(-1).detach()}


def through(door, model, image, ids, layer="tower.body", parts=None):
    """Explain one picture for each text through one of the ``DOORS``: maps, or what each word contributes.

    ``parts`` is where the tower and the words are, if the model itself does not hand on its attributes.
    """
    from mmgrad_explain import MMGrad, MMGradAttribution

    parts = parts or model

    def score(output):
        return output.embedding[:, 0]

    batch = image.expand(len(ids), -1, -1, -1)
    mmgrad = MMGrad(model, layer, score, "gradcam", words="gradient" if door == "words" else False)
    if door == "call":
        return mmgrad(batch, ids).maps
    if door == "words":
        values = [[word.value for word in words] for words in mmgrad(batch, ids).words]
        return torch.tensor(values, dtype=torch.float32).to(image.device)
    if door == "captum":
        method = MMGradAttribution(model, layer, score)
        return method.attribute(batch, additional_forward_args=ids, upsample=False)[:, 0]
    if door == "texts":

        def compose(grid, ids):
            return Composed(parts.compose(grid, parts.words(ids)))

        return mmgrad.texts(image, ids, encode=parts.tower, compose=compose).maps
    with mmgrad.capture() as seen:
        maps = mmgrad.attend(score(model(batch, ids)), seen, create_graph=True)
        assert maps.requires_grad
        if trainable := [one for one in model.parameters() if one.requires_grad]:
            torch.autograd.grad(maps.sum(), trainable, allow_unused=True)
    return maps.detach()


def plain_answer(door, model, image, ids):
    """What a door is to give for a :class:`TwoInput`."""
    return by_plain_autograd(model, image, ids)["words" if door == "words" else "maps"]


def check(door, model, plain, image, ids, **options):
    """The door's answer on ``model`` is that of plain autograd on ``plain``, and the model comes back as it was."""
    expected = plain_answer(door, plain, image, ids)
    with leaves_alone(model):
        found = through(door, model, image, ids, **options)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def clip(layers=2):
    """A small random CLIP of transformers: a vocabulary of 20 whose last word ends a text, pictures of 32 x 32."""
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2}
    text = {**small, "vocab_size": 20, "max_position_embeddings": 8, "eos_token_id": 19}
    vision = {**small, "image_size": 32, "patch_size": 8}
    return build(lambda: CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)))


def devices():
    """The devices that are there: the tests that run on each of them ask for no other."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


@pytest.fixture(params=devices())
def device(request, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # of 10 bits: what is compared is finer
    return torch.device(request.param)


@pytest.fixture(params=DOORS)
def door(request):
    """Every way to ask for a map."""
    return request.param


@pytest.fixture
def model():
    return build(TwoInput)


@pytest.fixture
def image():
    return pictures(1)


@pytest.fixture(name="ids")
def three_texts():
    return ids(3)


@pytest.fixture
def cnn():
    return build(CNN)


@pytest.fixture
def x():
    return pictures()


def cnn_map(model, x, index=1):
    """Grad-CAM at ``late`` of a :class:`CNN`, without any hook."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone()
        grid = model.features(x).requires_grad_()
        score = model.head(functional.gelu(grid).mean((2, 3)))[:, index]
        return grad_cam(grid, torch.autograd.grad(score.sum(), grid)[0]).detach()


@pytest.fixture(scope="session")
def zoo():
    """The tiny models and helpers of this file, by name."""
    helpers = (build, pictures, ids, class_score, scaled, grad_cam, state, leaves_alone, captured)
    helpers += (tokens, run_at, plain_maps, finds_cells, by_plain_autograd, plain_answer, through, check, clip, cnn_map)
    classes = (CNN, Composed, Tower, Words, TwoInput, Block, ViT)
    return SimpleNamespace(**{thing.__name__: thing for thing in (*classes, *helpers)})
