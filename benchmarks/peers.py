"""Maps by mmgrad_explain, captum, pytorch-grad-cam and torch-cam: the same model, layer and score, in turns.

    python benchmarks/peers.py                           # everything on the CPU, one thread: about ten minutes
    python benchmarks/peers.py --device cuda --rounds 15
    python benchmarks/peers.py --models CLIP --batches 8
    python benchmarks/peers.py --quick                   # tiny models: the figures mean nothing

First it is shown that all methods give the same maps; where they do not, nothing is measured. Then all are timed in
turns, in rounds, and the ratio of a round compares neighbours in time. A *forward* is the plain model with its score,
without gradients. Every model has random weights; times do not depend on them. The peers get a wrapper that holds the
texts, takes images and gives the score, as their documentation asks for.

*As documented* is what their examples show. *Frozen* is what an expert adds: no parameter needs a gradient; for
pytorch-grad-cam, which cannot start at the layer, it then comes in with the image. *Layer only* freezes all but the
layer's own parameters, which starts the graph there.

Methods on attention are timed beside MMGrad's own Grad-CAM of the same batch of CLIP, and LeGrad beside torch-cam's on
a classifier of torchvision, the only models that torch-cam's takes without more code.

Memory is the peak of what PyTorch allocates during a call, above the model and its inputs. On the CPU that leaves out
what NumPy allocates for pytorch-grad-cam.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import time
import warnings
import weakref
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmgrad_explain import MMGrad, MMGradWarning
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.metrics.report import environment_line, format_number, markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Clock = Callable[[], float]

FORWARD, OURS, CAPTUM, CAPTUM_FROZEN = "forward", "MMGrad", "captum", "captum, frozen"
PGC, PGC_FROZEN, PGC_LAYER = "pytorch-grad-cam", "pytorch-grad-cam, frozen", "pytorch-grad-cam, layer only"
TORCHCAM, TORCHCAM_LAYER = "torch-cam", "torch-cam, layer only"
CACHED = ", cached texts"
UNIFORM, FADING, PGC_FLOATS = "MMGrad, as opaque everywhere", "MMGrad, fading", "pytorch-grad-cam, given floats"
AGREE = 1e-3  # of a map's range
LEGRAD, TORCHCAM_LEGRAD, TORCHCAM_FROZEN = "MMGrad, legrad", "torch-cam, LeGrad", "torch-cam, LeGrad, frozen"
AT_MOST = {"legrad": 1.5, "grad-eclip": 1.3, "relevancy": 2.0}  # methods on attention: their time over that of Grad-CAM


class Tirg(nn.Module):
    """An image's embedding that a text gates and changes (TIRG, arXiv 1812.07119, at the last linear layer)."""

    def __init__(self, backbone: str, width: int) -> None:
        super().__init__()
        import timm

        self.visual = timm.create_model(backbone, num_classes=0, global_pool="")
        self.project = nn.Linear(self.visual.num_features, width)
        self.words = nn.EmbeddingBag(1000, width)
        self.gate = nn.Sequential(nn.ReLU(), nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.change = nn.Sequential(nn.ReLU(), nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        """Composed embeddings, (B, width)."""
        image = self.project(self.visual(pixels).mean((2, 3)))
        both = torch.cat([image, self.words(words)], 1)
        return self.gate(both).sigmoid() * image + self.change(both)  # type: ignore[no-any-return]


class Clip(nn.Module):
    """CLIP's cosine of each image with its text."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        self.clip = CLIPModel(CLIPConfig(**sizes))

    def image(self, pixels: Tensor) -> Tensor:
        """Unit embeddings of images."""
        return F.normalize(self.clip.visual_projection(self.clip.vision_model(pixels).pooler_output), dim=-1)

    def text(self, words: Tensor) -> Tensor:
        """Unit embeddings of texts; embeddings that were computed in advance are returned as they are."""
        if words.is_floating_point():
            return words
        return F.normalize(self.clip.text_projection(self.clip.text_model(words).pooler_output), dim=-1)

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        """(B,)."""
        return (self.image(pixels) * self.text(words)).sum(-1)


class Matching(nn.Module):
    """BLIP's match logit: the text tower reads the image in each of its layers."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        from transformers import BlipConfig, BlipForImageTextRetrieval

        self.blip = BlipForImageTextRetrieval(BlipConfig(**sizes))

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        """(B,)."""
        return self.blip(input_ids=words, pixel_values=pixels).itm_score[:, 1]  # type: ignore[no-any-return]


class Scored(nn.Module):
    """The model for the peers: images in, one score an image out."""

    def __init__(self, model: nn.Module, rest: tuple[Any, ...], score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.rest, self.score = model, rest, score

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,)."""
        return self.score(self.model(pixels, *self.rest))


@dataclass
class Case:
    """A model with the layer and the score that all libraries explain.

    Attributes:
        model: Takes images and words.
        layer: Dotted name of the target layer.
        side: Pixels of an image's side.
        vocabulary: How many words there are.
        length: Words of a text.
        width: Length of the embedding whose product with a target's is the score; 0 where the model gives the score.
        grid: (h, w) of the tokens behind one class token; None for a layer that gives (B, K, h, w).
    """

    model: Any
    layer: str
    side: int
    vocabulary: int
    length: int
    width: int = 0
    grid: tuple[int, int] | None = None

    def batch(self, count: int, device: str, *, one_image: bool = False) -> Batch:
        """Make a batch of texts, each with its own image or all with one."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(1 if one_image else count, 3, self.side, self.side, generator=generator).to(device)
        words = torch.randint(1, self.vocabulary, (count, self.length), generator=generator).to(device)
        signs = torch.ones(count, device=device)
        if self.width:
            signs = F.normalize(torch.randn(count, self.width, generator=generator), dim=-1).to(device)
        batch = Batch(self, pixels, words, signs)
        empty = MMGrad(self.model, self.layer, batch.score, "gradcam")(pixels.expand(count, -1, -1, -1), words).flat
        signs[empty] *= -1  # with random weights a score may fall with the whole image; then it rises
        return batch


class Batch(NamedTuple):
    """Images and texts of a case, and the score: the product of the model's output with ``target``."""

    case: Case
    pixels: Tensor
    words: Tensor
    target: Tensor

    def score(self, output: Tensor) -> Tensor:
        """(B,)."""
        return (output * self.target).reshape(len(self.target), -1).sum(1)


def tirg(options: argparse.Namespace) -> Case:
    """ResNet-50 with TIRG; the last stage."""
    if options.quick:
        return Case(Tirg("test_resnet", 16), "visual.layer4", 64, 1000, 8, width=16)
    return Case(Tirg("resnet50", 512), "visual.layer4", 224, 1000, 8, width=512)


def convnext(options: argparse.Namespace) -> Case:
    """ConvNeXt-T with TIRG; the last stage."""
    if options.quick:
        return Case(Tirg("test_convnext", 16), "visual.stages.3", 64, 1000, 8, width=16)
    return Case(Tirg("convnext_tiny", 512), "visual.stages.3", 224, 1000, 8, width=512)


def clip(options: argparse.Namespace) -> Case:
    """CLIP of the size of ViT-B/32; the first norm of the last block: behind it only the class token has a gradient."""
    if options.quick:
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        text = {**small, "vocab_size": 100, "max_position_embeddings": 16, "eos_token_id": 99}
        sizes = {
            "text_config": text, "vision_config": {**small, "image_size": 64, "patch_size": 16}, "projection_dim": 16
        }  # fmt: skip
        return Case(Clip(sizes), "clip.vision_model.encoder.layers.1.layer_norm1", 64, 99, 16, grid=(4, 4))
    layer = "clip.vision_model.encoder.layers.11.layer_norm1"
    return Case(Clip({}), layer, 224, 49_000, 16, grid=(7, 7))  # transformers' defaults are ViT-B/32


def blip(options: argparse.Namespace) -> Case:
    """BLIP of its base size; the last block of its image tower, all of which the text tower reads."""
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {
        "text_config": {**small, "vocab_size": 100, "encoder_hidden_size": 32, "max_position_embeddings": 32},
        "vision_config": {**small, "image_size": 64, "patch_size": 16},
    }
    if options.quick:
        return Case(Matching(sizes), "blip.vision_model.encoder.layers.1", 64, 99, 16, grid=(4, 4))
    sizes = {"text_config": {"num_attention_heads": 12}, "vision_config": {}}
    return Case(Matching(sizes), "blip.vision_model.encoder.layers.11", 384, 30_000, 16, grid=(24, 24))


MODELS = {"ResNet-50": tirg, "ConvNeXt-T": convnext, "CLIP": clip, "BLIP": blip}
KINDS = {"ResNet-50": "CNN", "ConvNeXt-T": "CNN", "CLIP": "ViT", "BLIP": "single stream"}


@dataclass
class Method:
    """A method that makes maps.

    Attributes:
        run: Makes them; none for the forward.
        trains: Which parameters need a gradient: ``"all"``, ``"layer"`` or ``"none"``.
        enters: Whether the image needs one.
        slow: Timed in every other round only.
    """

    run: Callable[[], Any]
    trains: str = "all"
    enters: bool = False
    slow: bool = False


def to_tokens_grid(grid: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Make the ``reshape_transform`` that the peers need for tokens after a class token."""

    def reshape(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2)

    return reshape


def by_captum(scored: nn.Module, layer: nn.Module, pixels: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """LayerGradCam. It treats tokens as channels; for tokens its computation is done here on their grid."""
    from captum._utils.gradient import compute_layer_gradients_and_eval
    from captum.attr import LayerGradCam

    if grid is None:
        return LayerGradCam(scored, layer).attribute(pixels, relu_attributions=True)[:, 0]
    gradients, values = compute_layer_gradients_and_eval(scored, layer, (pixels,))
    gradient, value = to_tokens_grid(grid)(gradients[0]), to_tokens_grid(grid)(values[0])
    return (gradient.mean((2, 3), keepdim=True) * value).sum(1).relu()


def by_pytorch_grad_cam(scored: nn.Module, layer: nn.Module, pixels: Tensor, grid: tuple[int, int] | None) -> Any:
    """GradCAM with a target an image."""
    from pytorch_grad_cam import GradCAM

    reshape = None if grid is None else to_tokens_grid(grid)
    with GradCAM(model=scored, target_layers=[layer], reshape_transform=reshape) as cam:
        return cam(input_tensor=pixels, targets=[lambda score: score] * len(pixels))


def by_torch_cam(scored: nn.Module, layer: nn.Module, pixels: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """GradCAM with a target an image."""
    from torchcam.methods import GradCAM

    reshape = None if grid is None else to_tokens_grid(grid)
    with GradCAM(scored, layer, reshape_transform=reshape) as extractor:
        scores = scored(pixels)
        return extractor(scores=scores, targets=lambda score: score)[0]


def methods_for(batch: Batch, *, every: bool) -> dict[str, Method]:
    """List all methods for a batch; ``every`` adds those that few people use."""
    case, pixels = batch.case, batch.pixels
    scored = Scored(case.model, (batch.words,), batch.score)
    layer = case.model.get_submodule(case.layer)
    mmgrad = MMGrad(case.model, case.layer, batch.score, "gradcam")

    def forward() -> None:
        with torch.no_grad():
            scored(pixels)

    def peer(function: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: function(scored, layer, pixels, case.grid)

    methods = {
        FORWARD: Method(forward),
        OURS: Method(lambda: mmgrad(pixels, batch.words).maps),
        CAPTUM: Method(peer(by_captum)),
        TORCHCAM: Method(peer(by_torch_cam)),
        CAPTUM_FROZEN: Method(peer(by_captum), "none", slow=True),
        PGC: Method(peer(by_pytorch_grad_cam), slow=True),
        PGC_FROZEN: Method(peer(by_pytorch_grad_cam), "none", enters=True, slow=True),
    }
    if every:
        methods[PGC_LAYER] = Method(peer(by_pytorch_grad_cam), "layer", slow=True)
        methods[TORCHCAM_LAYER] = Method(peer(by_torch_cam), "layer", slow=True)
    return methods


@contextlib.contextmanager
def prepare(batch: Batch, method: Method) -> Iterator[None]:
    """Prepare the model for a method, without gradients of an earlier one."""
    model: nn.Module = batch.case.model
    model.zero_grad(set_to_none=True)
    model.requires_grad_(method.trains == "all")
    if method.trains == "layer":
        model.get_submodule(batch.case.layer).requires_grad_(True)  # noqa: FBT003  (torch's own)
    batch.pixels.requires_grad_(method.enters)
    yield
    batch.pixels.requires_grad_(False).grad = None  # noqa: FBT003


def scale_to_range(maps: Any) -> Tensor:
    """Scale each map to [0, 1], on the CPU, (B, h, w)."""
    maps = torch.as_tensor(maps).detach().float().cpu()
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def largest_difference(ours: Tensor, theirs: Any) -> float:
    """Compute the largest difference of two methods' maps in [0, 1]; if one is resized, both are."""
    theirs = torch.as_tensor(theirs)
    ours = ours.detach().cpu()
    if ours.shape != theirs.shape:
        ours = F.interpolate(ours[:, None], theirs.shape[1:], mode="bilinear")[:, 0]
    return float((scale_to_range(ours) - scale_to_range(theirs)).abs().max())


def check(name: str, ours: Tensor, others: dict[str, Any]) -> list[str]:
    """Write a row of the table that shows that the maps agree.

    Raises:
        RuntimeError: If they do not.
    """
    lively = int((ours.amax((1, 2)) > ours.amin((1, 2))).sum())
    differences = {other: largest_difference(ours, maps) for other, maps in others.items()}
    worst = max(differences, key=lambda other: differences[other])
    if lively * 4 < len(ours):
        raise RuntimeError(f"{name}: only {lively} of {len(ours)} maps are not empty, which shows nothing")
    if not differences[worst] <= AGREE:
        raise RuntimeError(f"{name}: the maps of {worst} differ by {differences[worst]:.2g} of their range")
    return [name, f"{lively} of {len(ours)}", f"{differences[worst]:.1g}"]


class Live(TorchDispatchMode):
    """Adds up the bytes of the tensors that operations make, as long as they live.

    Attributes:
        high: The largest sum so far.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.high = self._live = 0
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in known} | {0}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self._seen:
                storage = tensor.untyped_storage()
                place, size = storage.data_ptr(), storage.nbytes()
                self._seen.add(place)
                self._live += size
                self.high = max(self.high, self._live)
                weakref.finalize(storage, self._gone, place, size)
        return made

    def _gone(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self._live -= size


def peak_of(call: Callable[[], Any], known: Sequence[Tensor]) -> tuple[Any, float]:
    """Run a call; give its result and the peak of PyTorch's tensors during it in MiB, without those in ``known``."""
    if known[0].is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        made = call()
        torch.cuda.synchronize()
        return made, (torch.cuda.max_memory_allocated() - before) / 2**20
    with Live(known) as live:
        made = call()
    return made, live.high / 2**20


def timed(call: Callable[[], Any], clock: Clock, device: str) -> tuple[Any, float]:
    """Run a call; give its result and its seconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    began = clock()
    made = call()
    if device != "cpu":
        torch.cuda.synchronize()
    return made, clock() - began


class Measured(NamedTuple):
    """Measurements of one batch: seconds of each method in each round (NaN: not timed in it), and MiB of each."""

    kind: str
    batch: int
    seconds: dict[str, list[float]]
    memory: dict[str, float]
    agreement: list[str]

    def over(self, method: str, base: str) -> float:
        """The median ratio of two methods' times over the rounds; NaN where one was not timed."""
        if method not in self.seconds or base not in self.seconds:
            return float("nan")
        ratios = np.array(self.seconds[method]) / np.array(self.seconds[base])
        return float(np.nanmedian(ratios))

    def memory_over(self, method: str, base: str = OURS) -> float:
        """The ratio of two methods' memory; NaN where one was not measured."""
        return self.memory.get(method, float("nan")) / self.memory[base]


def measure(name: str, case: Case, count: int, options: argparse.Namespace, clock: Clock) -> Measured:
    """Check that the methods agree on a batch, and measure them."""
    print(f"{name}, batch of {count}", file=sys.stderr, flush=True)
    batch = case.batch(count, options.device)
    methods = methods_for(batch, every=count <= 8)
    memory, maps = dict[str, float](), dict[str, Any]()
    known = [batch.pixels, batch.words, *case.model.parameters(), *case.model.buffers()]
    for key, method in methods.items():
        with prepare(batch, method):
            maps[key], memory[key] = peak_of(method.run, known)
    del maps[FORWARD]
    agreement = check(f"{name}, batch of {count}", maps.pop(OURS), maps)
    seconds: dict[str, list[float]] = {key: [] for key in methods}
    order = list(methods)
    for turn in range(options.rounds):
        begin = turn % len(order)
        for key in order[begin:] + order[:begin]:
            if methods[key].slow and turn % 2:
                seconds[key].append(float("nan"))
                continue
            with prepare(batch, methods[key]):
                seconds[key].append(timed(methods[key].run, clock, options.device)[1])
    return Measured(KINDS[name], count, seconds, memory, agreement)


def first_call(case: Case, options: argparse.Namespace, clock: Clock) -> tuple[float, str]:
    """Time the very first call on one image, which has to find the layer; give the layer too."""
    batch = case.batch(1, options.device)
    mmgrad = MMGrad(case.model, None, batch.score, "gradcam")
    with prepare(batch, Method(print)):
        _, seconds = timed(lambda: mmgrad(batch.pixels, batch.words), clock, options.device)
    return seconds, ", ".join(mmgrad.layer_names)


def many_texts(case: Case, options: argparse.Namespace, clock: Clock) -> tuple[dict[str, list[float]], list[str]]:
    """Time one image with many texts: together, and in a loop of the peers, with texts encoded anew and in advance.

    Returns:
        Seconds of each way, and the row that shows that the maps agree.
    """
    count = 4 if options.quick else options.texts
    print(f"{count} texts of one image", file=sys.stderr, flush=True)
    model: Any = case.model
    batch = case.batch(count, options.device, one_image=True)
    layer = model.get_submodule(case.layer)
    mmgrad = MMGrad(model, case.layer, batch.score, "gradcam")
    with torch.no_grad():
        vectors = model.text(batch.words)

    def together(texts: Tensor) -> Callable[[], Tensor]:
        def compose(features: Tensor, texts: Tensor) -> Tensor:
            return (features * model.text(texts)).sum(-1)

        return lambda: mmgrad.texts(batch.pixels, texts, encode=model.image, compose=compose).maps

    def loop(function: Callable[..., Any], texts: Tensor) -> Callable[[], list[Any]]:
        questions = [
            Scored(model, (text[None],), batch._replace(target=target[None]).score)
            for text, target in zip(texts, batch.target, strict=True)
        ]
        return lambda: [function(scored, layer, batch.pixels, case.grid)[0] for scored in questions]

    ways = {
        f"{name}{how}": Method(way(texts) if way is together else loop(way, texts))
        for name, way in ((OURS, together), (CAPTUM, by_captum), (PGC, by_pytorch_grad_cam))
        for how, texts in (("", batch.words), (CACHED, vectors))
    }
    maps: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    with prepare(batch, ways[OURS]):
        ways[OURS].run()
    for turn in range(max(1, options.rounds // 2)):
        for key, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            with prepare(batch, way):
                made, took = timed(way.run, clock, options.device)
            maps[key] = made if isinstance(made, Tensor) else torch.stack([torch.as_tensor(one) for one in made])
            seconds[key].append(took)
        if not turn:
            agreement = check(f"CLIP, {count} texts", maps.pop(OURS), maps)
    return seconds, agreement


def time_ways(
    ways: dict[str, Callable[[], Any]], options: argparse.Namespace, clock: Clock
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Run each way once, and then time all in turns; give their seconds and what they made."""
    made = {key: way() for key, way in ways.items()}
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for turn in range(options.rounds):
        for key, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            seconds[key].append(timed(way, clock, options.device)[1])
    return seconds, made


def attention_methods(case: Case, options: argparse.Namespace, clock: Clock) -> dict[str, list[float]]:
    """Time the methods on attention and Grad-CAM on one batch of CLIP."""
    batch = case.batch(2 if options.quick else 8, options.device)
    every = {OURS: MMGrad(case.model, case.layer, batch.score, "gradcam")}
    every |= {f"MMGrad, {name}": MMGrad(case.model, score=batch.score, method=name) for name in AT_MOST}
    ways = {key: functools.partial(mmgrad, batch.pixels, batch.words) for key, mmgrad in every.items()}
    return time_ways(ways, options, clock)[0]


def legrad_peers(options: argparse.Namespace, clock: Clock) -> tuple[dict[str, list[float]], list[str]]:
    """Time LeGrad and torch-cam's on a vision transformer of torchvision, and show that the maps agree."""
    from torchcam.methods import LeGrad
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    sizes = (64, 16, 3, 2, 32, 64) if options.quick else (224, 32, 12, 12, 768, 3072)
    model = VisionTransformer(*sizes).to(options.device).eval()
    nn.init.normal_(model.heads.head.weight, std=0.1)  # torchvision's is 0, and so would be the maps
    count = 2 if options.quick else 8
    images = torch.randn(count, 3, sizes[0], sizes[0], generator=torch.Generator().manual_seed(0)).to(options.device)
    mmgrad = MMGrad(model, score=lambda logits: logits[:, 0], method="legrad")

    def peer(*, trains: bool) -> Tensor:
        model.requires_grad_(trains)
        with LeGrad(model, list(model.encoder.layers)[-2:]) as extractor:
            scores = model(images)
            return extractor([0] * count, scores, normalized=False)[0]

    ways = {
        LEGRAD: lambda: mmgrad(images).maps,
        TORCHCAM_LEGRAD: functools.partial(peer, trains=True),
        TORCHCAM_FROZEN: functools.partial(peer, trains=False),
    }
    seconds, maps = time_ways(ways, options, clock)
    return seconds, check(f"LeGrad, batch of {count}", maps.pop(LEGRAD), maps)


def overlays(rounds: int, clock: Clock, *, side: int = 1024, count: int = 4) -> dict[str, list[float]]:
    """Time drawing a 7x7 map on photographs, with the resize; the peer needs images as floating-point numbers.

    In each round each way draws some images one after the other, and before them one that is not timed: what memory
    costs a call depends on what was freed before it.

    Returns:
        Seconds an image.

    Raises:
        RuntimeError: If the overlays do not look alike.
    """
    from pytorch_grad_cam.utils.image import show_cam_on_image

    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (count, side, side, 3), np.uint8)
    floats = np.float32(pictures) / 255
    heat = generator.random((7, 7), np.float32)

    def peer(image: Any) -> Any:
        return show_cam_on_image(image, cv2.resize(heat, (side, side)), use_rgb=True)

    ways: dict[str, Callable[[int], Any]] = {
        UNIFORM: lambda index: blend(pictures[index], heat, colormap="jet", fade=False),
        FADING: lambda index: blend(pictures[index], heat),
        PGC_FLOATS: lambda index: peer(floats[index]),
        PGC: lambda index: peer(np.float32(pictures[index]) / 255),
    }
    ours, theirs = (ways[key](0).astype(float) for key in (UNIFORM, PGC))
    if not np.abs(ours - theirs).max() <= 20:  # their tables of "jet" differ by up to 34 of 255, half of which shows
        raise RuntimeError("the overlays do not look alike")
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(rounds):
        for key, way in ways.items():
            way(0)
            seconds[key].append(sum(timed(functools.partial(way, i), clock, "cpu")[1] for i in range(count)) / count)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, quick: str) -> float:
    """Compute the median ratio of two rows over the rounds."""
    return float(np.median(np.array(seconds[slow]) / np.array(seconds[quick])))


def tables(found: dict[str, list[Measured]]) -> list[str]:
    """Write agreement, time and memory as Markdown."""
    flat = [one for of_model in found.values() for one in of_model]
    columns = [CAPTUM, CAPTUM_FROZEN, TORCHCAM, TORCHCAM_LAYER, PGC, PGC_FROZEN, PGC_LAYER]
    first = [one.agreement[0] for one in flat]
    times = [
        [name, f"{1000 * np.median(one.seconds[FORWARD]):.0f}"]
        + [format_number(one.over(method, FORWARD), 2) for method in (OURS, *columns)]
        for name, one in zip(first, flat, strict=True)
    ]
    ratios = [
        [name, *(format_number(one.over(method, OURS), 2) for method in columns)]
        for name, one in zip(first, flat, strict=True)
    ]
    memory = [
        [name, f"{one.memory[FORWARD]:.0f}", f"{one.memory[OURS]:.0f}"]
        + [format_number(one.memory_over(method), 1) for method in columns]
        for name, one in zip(first, flat, strict=True)
    ]
    return [
        "Time over that of a forward without gradients:\n",
        markdown_table(["", "forward, ms", OURS, *columns], times),
        "\nTime over MMGrad's:\n",
        markdown_table(["", *columns], ratios),
        "\nPeak memory above the model: MiB, and the peers' over MMGrad's:\n",
        markdown_table(["", "forward, MiB", f"{OURS}, MiB", *columns], memory),
    ]


def attention_tables(on_attention: dict[str, list[float]] | None, legrads: dict[str, list[float]]) -> list[str]:
    """Write the times of methods on attention as Markdown."""
    lines = ["\nMethods on attention, one batch:\n"]
    for what, seconds, base in (("CLIP", on_attention, OURS), ("A classifier", legrads, LEGRAD)):
        if seconds is not None:
            rows = [
                [way, f"{1000 * np.median(took):.0f}", format_number(ratio(seconds, way, base), 2)]
                for way, took in seconds.items()
            ]
            lines.append(markdown_table([what, "ms", f"over {base}"], rows) + "\n")
    return lines


def verdicts(
    found: dict[str, list[Measured]],
    texts: dict[str, list[float]] | None,
    on_attention: dict[str, list[float]] | None,
    legrads: dict[str, list[float]],
    drawn: dict[str, list[float]],
) -> list[list[str]]:
    """List the aims, the measured worst case, and whether each aim is met."""
    rows: list[list[str]] = []

    def add(what: str, values: Sequence[float], bound: float, *, most: bool) -> None:
        known = [value for value in values if not np.isnan(value)]
        if known:
            worst = max(known) if most else min(known)
            met = worst <= bound if most else worst >= bound
            rows.append([what, f"{'<=' if most else '>='} {bound:g}", format_number(worst, 2), "yes" if met else "no"])

    every = [one for of_model in found.values() for one in of_model]
    largest = [of_model[-1] for of_model in found.values()]
    for kind, bound in (("CNN", 1.05), ("ViT", 1.10), ("single stream", 1.30)):
        of_kind = [one.over(OURS, FORWARD) for one in largest if one.kind == kind]
        add(f"MMGrad over a forward, {kind}, largest batch", of_kind, bound, most=True)
    for kinds, what in ((("CNN", "ViT"), "CNN and ViT"), (("single stream",), "single stream")):
        of_kind = [one for one in largest if one.kind in kinds]
        ours = f"pytorch-grad-cam over MMGrad, {what}, largest batch"
        add(ours, [one.over(PGC, OURS) for one in of_kind], 2.5, most=False)
        add(f"{ours}, frozen", [one.over(PGC_FROZEN, OURS) for one in of_kind], 1.8, most=False)
    add("MMGrad over captum, largest batch", [one.over(OURS, CAPTUM) for one in largest], 1.05, most=True)
    add("captum's memory over MMGrad's", [one.memory_over(CAPTUM) for one in every], 7, most=False)
    if texts is not None:
        cached = OURS + CACHED
        add("many texts: pytorch-grad-cam over MMGrad", [ratio(texts, PGC, OURS)], 15, most=False)
        add("many texts: captum over MMGrad", [ratio(texts, CAPTUM, OURS)], 5, most=False)
        add("many texts: pytorch-grad-cam over MMGrad with cached texts", [ratio(texts, PGC, cached)], 35, most=False)
        add("many texts: captum over MMGrad with cached texts", [ratio(texts, CAPTUM, cached)], 10, most=False)
    for name, bound in AT_MOST.items() if on_attention is not None else ():
        add(f"{name} over gradcam, CLIP", [ratio(on_attention or {}, f"MMGrad, {name}", OURS)], bound, most=True)
    peers = [ratio(legrads, key, LEGRAD) for key in (TORCHCAM_LEGRAD, TORCHCAM_FROZEN)]
    add("torch-cam's LeGrad over MMGrad's", peers, 1, most=False)
    add("overlay: pytorch-grad-cam over MMGrad", [ratio(drawn, PGC, UNIFORM)], 8, most=False)
    return rows


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME", help=", ".join(MODELS))
    add("--batches", nargs="+", type=int, default=[8, 32], help="batch sizes; BLIP has 1 (default: 8 32)")
    add("--rounds", type=int, default=3, help="paired rounds; the slow methods run in every other (default: 3)")
    add("--texts", type=int, default=32, help="how many texts of one image (default: %(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where the models run (default: %(default)s)")
    add("--threads", type=int, default=1, help="of the CPU (default: %(default)s)")
    add("--cpu-time", action="store_true", help="count processor seconds: for a busy machine, with one thread")
    add("--quick", action="store_true", help="tiny models, as a test of the whole path")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = read_options(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    warnings.simplefilter("ignore", MMGradWarning)  # with random weights some maps are empty
    found: dict[str, list[Measured]] = {}
    texts, on_attention, first, agreement = None, None, [], []
    drawn = overlays(3 if options.quick else 20, clock)  # before the models, whose memory the peer's would come from
    for name in options.models:
        torch.manual_seed(0)
        case = MODELS[name](options)
        case.model.to(options.device).eval()
        batches = [1] if KINDS[name] == "single stream" else [2] if options.quick else sorted(options.batches)
        found[name] = [measure(name, case, count, options, clock) for count in batches]
        agreement += [one.agreement for one in found[name]]
        if name == "CLIP":
            seconds, layer = first_call(case, options, clock)
            first = [[name, f"{1000 * seconds:.0f}", layer]]
            texts, row = many_texts(case, options, clock)
            agreement.append(row)
            on_attention = attention_methods(case, options, clock)
    legrads, row = legrad_peers(options, clock)
    agreement.append(row)
    print("The maps agree, each from 0 to 1:\n")
    print(markdown_table(["", "maps that are not empty", "largest difference"], agreement) + "\n")
    print(*tables(found), sep="\n")
    if texts is not None:
        print("\nOne image, many texts:\n")
        rows = [
            [way, f"{1000 * np.median(took):.0f}", format_number(ratio(texts, way, OURS), 1),
             format_number(ratio(texts, way, OURS + CACHED), 1)] for way, took in texts.items()
        ]  # fmt: skip
        print(markdown_table(["CLIP", "ms", "over MMGrad", "over MMGrad with cached texts"], rows))
        print("\nThe first call, which has to find the layer, on one image:\n")
        print(markdown_table(["", "ms", "layer"], first))
    print(*attention_tables(on_attention, legrads), sep="\n")
    print("\nOverlays of 1024x1024 pixels, with the resize:\n")
    rows = [
        [way, f"{1000 * np.median(took):.1f}", format_number(ratio(drawn, way, UNIFORM), 1)]
        for way, took in drawn.items()
    ]
    print(markdown_table(["", "ms", "over the first"], rows))
    print("\nAims, and the worst case:\n")
    print(markdown_table(["", "aim", "measured", "met"], verdicts(found, texts, on_attention, legrads, drawn)))
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("captum", "grad-cam", "torchcam", "timm", "transformers")
    )
    timing = "processor" if options.cpu_time else "wall"
    print(f"\n{environment_line()}; {versions}; {options.device}, {options.rounds} rounds, {timing} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
