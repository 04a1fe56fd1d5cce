"""The cost of the grounding loss in a training step, against the same step without it.

    python benchmarks/step_cost.py                       # all models
    python benchmarks/step_cost.py --models reference
    python benchmarks/step_cost.py --quick               # tiny models: the figures mean nothing

A step is forward and backward of the retrieval loss; what an optimizer does comes on top, the same for all, so that
the ratio of whole steps is lower. *With the loss* takes maps from the same forward graph, differentiable, at the last
stage, and adds a Dice loss. *Second forward* runs the model once more to make the same maps, as one does where a map
method cannot use the training's own graph. Steps are timed in turns, in rounds: the ratio of a round compares
neighbours in time. *Ratio of operations* counts the floating-point operations of matrix products and convolutions: it
is exact, and no other work on the machine changes it. *Peak memory* is that of the tensors that a step makes, gradients
of the weights among them. Random weights; times do not depend on them.

*Cached images*: the image tower is frozen, and what it makes of images is read from memory, as from a disk. Without the
loss the step of CLIP needs an embedding of each image. With it, it also needs the image's prepared map: a matrix of
cells x D, kept in half precision (49 KB an image). *Of cached tokens* makes the same maps of the tokens before the last
block, which runs in every step, where nothing of the image tower ran. The text tower is trained, or *frozen*, and runs
all the same; or texts are cached too, and only the combiner is left of the step. *BLIP-2 Q-Former* has the published
sizes (12 layers of width 768, 32 queries, 257 image tokens of width 1408), is trained, and reads the reference with the
text; the target's embedding is cached. Its map is made at the values of the last cross-attention. *Config cirr-frozen*
is that training itself, with its losses and maps by two methods, on images and texts of scenes: towers frozen, the text
tower running; embeddings and maps are read from its cache on disk, by the pixels. *Two processes* train by gloo, each
on half of the images, wrapped as a Trainer wraps them.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peers import Live
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import flop_registry

from mmgrad_explain import MMGrad
from mmgrad_explain.attention import attend_prepared, prepare_maps
from mmgrad_explain.grounding import dice_loss
from mmgrad_explain.metrics.report import environment_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.training.config import TrainingConfig

    Step = Callable[[], None]
    Measured = tuple[dict[str, list[float]], dict[str, tuple[int, int]]]

TARGETS = {
    "TIRG-ResNet-50": 1.10, "CLIP ViT-B/32": 1.10, "CLIP ViT-B/32, LoRA": 1.10, "CLIP ViT-B/32, cached images": 1.10,
    "CLIP ViT-B/32, cached images, frozen texts": 1.10, "BLIP-2 Q-Former, cached images": 1.10,
    "CLIP ViT-B/32, config cirr-frozen": 1.10,
    "CLIP ViT-B/32, two processes": 1.10, "reference": 1.40, "reference, two processes": 1.40,
}  # fmt: skip


class Tirg(nn.Module):
    """A ResNet whose last feature grid the text gates and changes (TIRG, arXiv 1812.07119, at the last convolution)."""

    def __init__(self, backbone: str, width: int) -> None:
        super().__init__()
        import timm

        self.visual = timm.create_model(backbone, num_classes=0, global_pool="")
        channels, both = self.visual.num_features, self.visual.num_features + width
        self.words = nn.EmbeddingBag(1000, width)
        self.gate = nn.Sequential(nn.BatchNorm2d(both), nn.ReLU(), nn.Conv2d(both, channels, 1))
        self.change = nn.Sequential(nn.BatchNorm2d(both), nn.ReLU(), nn.Conv2d(both, channels, 1))
        self.out = nn.Linear(channels, width)

    def image(self, pixels: Tensor) -> Tensor:
        """Embed images alone."""
        return self.out(self.visual(pixels).mean((2, 3)))  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        """Embed images with texts."""
        grid = self.visual(pixels)
        both = torch.cat([grid, self.words(words)[:, :, None, None].expand(-1, -1, *grid.shape[2:])], 1)
        mixed = self.gate(both).sigmoid() * grid + self.change(both)
        return self.out(mixed.mean((2, 3)))  # type: ignore[no-any-return]


class ClipCombiner(nn.Module):
    """CLIP's two towers with an MLP on both embeddings."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        self.clip = CLIPModel(CLIPConfig(**sizes))
        width = self.clip.config.projection_dim
        self.combine = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))

    def image(self, pixels: Tensor) -> Tensor:
        """Embed images alone."""
        return self.clip.visual_projection(self.clip.vision_model(pixels).pooler_output)  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        """Embed images with texts."""
        own = self.image(pixels)
        text = self.clip.text_projection(self.clip.text_model(words).pooler_output)
        return own + self.combine(torch.cat([own, text], 1))  # type: ignore[no-any-return]


class CachedClip(nn.Module):
    """CLIP's text tower and a combiner, on cached image embeddings; the rest of the image tower is frozen."""

    def __init__(self, sizes: dict[str, Any], *, train_text: bool) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        from mmgrad_explain.composers.clip.composer import Combiner, CombinerConfig

        clip = CLIPModel(CLIPConfig(**sizes))
        self.text, self.project = clip.text_model, clip.text_projection
        vision = clip.vision_model
        self.block, self.norm, self.embed = vision.encoder.layers[-1], vision.post_layernorm, clip.visual_projection
        for part in (self.block, self.norm, self.embed, *(() if train_text else (self.text, self.project))):
            part.requires_grad_(requires_grad=False)
        self.width, self.tokens = clip.config.projection_dim, 1 + vision.embeddings.num_patches
        self.combiner = Combiner(CombinerConfig(embed_dim=self.width, width=self.width))

    def image(self, tokens: Tensor) -> Tensor:
        """Embed images from their tokens before the last block (B, N, C)."""
        hidden = self.block(tokens, attention_mask=None)
        return F.normalize(self.embed(self.norm((hidden if isinstance(hidden, Tensor) else hidden[0])[:, 0])), dim=-1)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Compose embeddings (B, D) with ids of words (B, L), or with embeddings of texts (B, D)."""
        texts = words
        if not words.is_floating_point():
            texts = F.normalize(self.project(self.text(words).pooler_output), dim=-1)
        return images + self.combiner(images, texts)  # type: ignore[no-any-return]


class CachedQFormer(nn.Module):
    """BLIP-2's Q-Former on cached image tokens: queries read words and image; their best match is what counts."""

    def __init__(self, sizes: dict[str, Any], width: int, queries: int) -> None:
        super().__init__()
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        config = Blip2QFormerConfig(**sizes, use_qformer_text_input=True)
        self.qformer = Blip2QFormerModel(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.queries = nn.Parameter(torch.randn(1, queries, config.hidden_size) * 0.02)
        self.out = nn.Linear(config.hidden_size, width)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Compose image tokens (B, N, C) with texts (B, L)."""
        both = torch.cat([self.queries.expand(len(words), -1, -1), self.words(words)], 1)
        mask = torch.ones(both.shape[:2], device=both.device)
        length = self.queries.shape[1]
        read = self.qformer(both, query_length=length, attention_mask=mask, encoder_hidden_states=images)
        return self.out(read.last_hidden_state[:, :length].mean(1))  # type: ignore[no-any-return]


def dice_of(maps: Tensor) -> Tensor:
    """Compute the Dice loss of maps with masks of their upper halves."""
    masks = torch.zeros_like(maps)
    masks[:, : maps.shape[1] // 2] = 1
    return dice_loss(maps, masks).mean()


def steps_on_cached(
    model: Any, layer: str, tokens: Tensor, words: Tensor, width: int, *, frozen_tower: bool = False
) -> dict[str, Step]:
    """Make the steps with and without the loss of a model on cached images.

    Args:
        model: Takes what is cached of images, and texts.
        layer: Where the map is made.
        tokens: What is cached of the references.
        words: Texts.
        width: Of the embeddings.
        frozen_tower: Whether the model reads embeddings, which its ``image`` makes of the tokens by frozen parts. Maps
            are then prepared; for comparison they are also made of cached tokens in every step.
    """
    model.train()
    mmgrad = MMGrad(model, layer, method="gradcam", layout="tokens")
    target = F.normalize(torch.randn(len(words), width), dim=-1)
    truth = torch.arange(len(words))
    prepared = prepare_maps(mmgrad, tokens, model.image) if frozen_tower else None
    stored = None if prepared is None else prepared.operators.half()
    trained = [one for one in model.parameters() if one.requires_grad]

    def step(kind: str) -> None:
        model.zero_grad(set_to_none=True)
        if kind == "without":
            query = F.normalize(model(tokens if prepared is None else prepared.embeddings, words), dim=-1)
            loss = F.cross_entropy(query @ target.T * 20, truth)
        elif kind == "with the loss" and prepared is not None and stored is not None:
            image = prepared.embeddings.clone().requires_grad_()
            query = F.normalize(model(image, words), dim=-1)
            maps = attend_prepared((query * target).sum(-1), image, stored, create_graph=True)
            loss = F.cross_entropy(query @ target.T * 20, truth) + dice_of(maps)
        else:
            with mmgrad.capture() as seen:
                query = F.normalize(model(tokens if prepared is None else model.image(tokens), words), dim=-1)
            maps = mmgrad.attend((query * target).sum(-1), seen, create_graph=True)
            loss = F.cross_entropy(query @ target.T * 20, truth) + dice_of(maps)
        loss.backward(inputs=trained)  # or else autograd goes down to the recorded layer of a frozen tower as well

    kinds = ["without", "with the loss", *(["of cached tokens"] if frozen_tower else [])]
    return {kind: lambda kind=kind: step(kind) for kind in kinds}  # type: ignore[misc]


class Objective(nn.Module):
    """A model with its losses, in one forward, as it is wrapped for several processes."""

    def __init__(self, model: Any, layer: str, count: int) -> None:
        super().__init__()
        self.model = model.train()
        self.mmgrad = MMGrad(model, layer, method="gradcam")
        self.register_buffer("truth", torch.arange(count), persistent=False)

    def forward(self, images: Tensor, targets: Tensor, text: Tensor, kind: str) -> Tensor:
        """Compute the loss of a kind of step."""
        target = F.normalize(self.model.image(targets), dim=-1)
        with self.mmgrad.capture() if kind == "with the loss" else nullcontext() as seen:
            query = F.normalize(self.model(images, text), dim=-1)
        loss = F.cross_entropy(query @ target.T * 20, self.truth)
        if kind == "second forward":
            with self.mmgrad.capture() as seen:
                query = F.normalize(self.model(images, text), dim=-1)
        if seen is not None:
            score = (query * target.detach()).sum(-1)
            loss = loss + dice_of(self.mmgrad.attend(score, seen, create_graph=True))
        return loss


def steps_of(
    model: Any, layer: str, pixels: int, words: int, length: int, batch: int, *, wrapped: bool = False
) -> dict[str, Step]:
    """Make the three kinds of step of a model; wrapped for several processes, the first two."""
    generator = torch.Generator().manual_seed(0)
    images, targets = (torch.randn(batch, 3, pixels, pixels, generator=generator) for _ in range(2))
    text = torch.randint(1, words, (batch, length), generator=generator)
    objective: nn.Module = Objective(model, layer, batch)
    if wrapped:
        objective = nn.parallel.DistributedDataParallel(objective, find_unused_parameters=True)

    def step(kind: str) -> None:
        objective.zero_grad(set_to_none=True)
        objective(images, targets, text, kind).backward()

    kinds = ("without", "with the loss") if wrapped else ("without", "with the loss", "second forward")
    return {kind: lambda kind=kind: step(kind) for kind in kinds}  # type: ignore[misc]


def tirg(options: argparse.Namespace) -> dict[str, Step]:
    """TIRG on ResNet-50 at 224 pixels; map at the last stage, before the text is mixed in."""
    if options.quick:
        return steps_of(Tirg("resnet10t", 16), "visual.layer4", 64, 1000, 6, 2)
    return steps_of(Tirg("resnet50", 512), "visual.layer4", 224, 1000, 8, options.batch)


def _clip_sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Return the sizes of ViT-B/32, which are the defaults of transformers, or tiny ones."""
    if not options.quick:
        return {}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 100, "max_position_embeddings": 8, "eos_token_id": 99}
    return {"text_config": text, "vision_config": {**small, "image_size": 64, "patch_size": 16}, "projection_dim": 16}


def clip(options: argparse.Namespace, part: slice | None = None, *, lora: bool = False) -> dict[str, Step]:
    """CLIP of the size of ViT-B/32 with a combiner; map at the first norm of the last block."""
    model = ClipCombiner(_clip_sizes(options))
    if lora:
        from peft import LoraConfig, inject_adapter_in_model

        inject_adapter_in_model(LoraConfig(r=16, target_modules=["q_proj", "v_proj"]), model.clip)  # and freeze it
    last = model.clip.config.vision_config.num_hidden_layers - 1
    batch = 2 if options.quick else options.batch
    pixels, words, length = (64, 100, 8) if options.quick else (224, 49_000, 16)
    layer = f"clip.vision_model.encoder.layers.{last}.layer_norm1"
    count = batch if part is None else part.stop - part.start
    return steps_of(model, layer, pixels, words, length, count, wrapped=part is not None)


def clip_with_adapters(options: argparse.Namespace) -> dict[str, Step]:
    """The same with frozen towers, low-rank adapters in their attention, and the combiner trained."""
    return clip(options, lora=True)


def cached_clip(options: argparse.Namespace, *, train_text: bool = True, cache_texts: bool = False) -> dict[str, Step]:
    """CLIP of the size of ViT-B/32: the image tower frozen and cached, text tower and combiner trained."""
    batch, vocabulary, length = (2, 100, 8) if options.quick else (options.batch * 4, 49_000, 32)
    model = CachedClip(_clip_sizes(options), train_text=train_text)
    tokens = torch.randn(batch, model.tokens, model.block.self_attn.embed_dim)
    words = torch.randint(1, vocabulary, (batch, length))
    if cache_texts:
        words = F.normalize(torch.randn(batch, model.width), dim=-1)
    return steps_on_cached(model, "block.layer_norm1", tokens, words, model.width, frozen_tower=True)


def frozen_clip(options: argparse.Namespace) -> dict[str, Step]:
    """The same with both towers frozen: the combiner alone is trained, but the text tower runs."""
    return cached_clip(options, train_text=False)


def cached_texts(options: argparse.Namespace) -> dict[str, Step]:
    """The same with cached texts too: the combiner alone runs."""
    return cached_clip(options, train_text=False, cache_texts=True)


def kept_clip(options: argparse.Namespace) -> dict[str, Step]:
    """The training of the config ``cirr-frozen``, on images of scenes: embeddings and maps come from its cache."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel

    from mmgrad_explain.composers.clip.composer import ClipComposer, Combiner, CombinerConfig
    from mmgrad_explain.composers.clip.processor import ClipProcessor
    from mmgrad_explain.data.batches.batch import encode_batch
    from mmgrad_explain.training.config_file import load_config
    from mmgrad_explain.training.feature_cache import FeatureCache
    from mmgrad_explain.training.models import find_parts
    from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
    from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

    sizes = _clip_sizes(options)
    pixels, words = (64, 100) if options.quick else (224, 49_408)
    source = SceneSource(pixels, SceneSourceOptions(pictures=2 if options.quick else options.batch * 4, edits=1))
    known = {word: i for i, word in enumerate(["<unk>", "<start>", *source.vocabulary[: words - 3]])}
    tokenizer = Tokenizer(models.WordLevel({**known, "<end>": words - 1}, unk_token="<unk>"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", words - 1)]
    )
    text = {**sizes.get("text_config", {}), "eos_token_id": words - 1}
    clip = CLIPModel(CLIPConfig(**{**sizes, "text_config": text}))
    length = clip.config.text_config.max_position_embeddings
    processor = ClipProcessor(tokenizer, pixels, length, words - 1, words - 1)
    width = clip.config.projection_dim
    composer = ClipComposer(clip, processor, Combiner(CombinerConfig(width, width)))
    batch = encode_batch(source.batch(0, 0), processor)
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def make_step(*changes: str) -> Step:
        config = load_config("cirr-frozen", ["sources.cirr.folder=none", "precision=float32", *changes])
        for part in find_parts(composer, config.model.freeze, "model.freeze"):
            part.requires_grad_(requires_grad=False)
        objective = GroundedObjective(composer, config.objective).train()
        methods = objective.passes.methods if config.grounding.supervises_maps else ()
        objective.passes.cache = FeatureCache(composer, folder, config.precision, methods)

        def step() -> None:
            objective.zero_grad(set_to_none=True)
            objective(batch, np.random.default_rng(0)).total.backward()

        return step

    return {
        "without": make_step("grounding.weight=0", "sources.cirr.masks=none"),
        "with the loss": make_step(),
    }


def q_former(options: argparse.Namespace) -> dict[str, Step]:
    """BLIP-2's Q-Former in its published size, on the cached tokens of a ViT-g."""
    sizes: dict[str, Any] = {}
    batch, tokens, width, queries, last = options.batch, 257, 1408, 32, 10
    if options.quick:
        batch, tokens, width, queries, last = 2, 17, 24, 4, 2
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
    model = CachedQFormer({**sizes, "encoder_hidden_size": width}, 256, queries)
    images, words = torch.randn(batch, tokens, width), torch.randint(1, 30_000, (batch, 16))
    layer = f"qformer.encoder.layer.{last}.crossattention.attention.value"
    return steps_on_cached(model, layer, images, words, 256)


def _reference_steps(options: argparse.Namespace, part: slice | None = None) -> dict[str, Step]:
    """Make the steps of the reference model's objective on a batch of scenes, or on a part of its images."""
    from mmgrad_explain.data.batches.batch import encode_batch, take_images
    from mmgrad_explain.training.config_file import load_config
    from mmgrad_explain.training.models import image_size_of, starting_composer
    from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
    from mmgrad_explain.training.sources.kinds import build_source

    changes = [f"sources.scenes.pictures={2 if options.quick else options.scenes}", *options.set]
    off = ["grounding.weight=0", "grounding.pooling=0"]
    config = load_config("tiny" if options.quick else "reference", changes)
    plain = load_config("tiny", [*changes, *off]) if options.quick else load_config("reference-no-grounding", changes)
    source = build_source(config.sources, image_size_of(config.model) or 224, labels=config.dense.weight > 0)
    composer: Any = starting_composer(config.model, source.vocabulary)
    images = source.batch(0, 0)
    images = images if part is None else take_images(images, np.arange(len(images.references))[part])
    batch = encode_batch(images, composer.processor)

    def make_step(of: TrainingConfig) -> Step:
        objective: nn.Module = GroundedObjective(composer, of.objective, source.label_classes).train()
        if part is not None:
            objective = nn.parallel.DistributedDataParallel(objective, find_unused_parameters=True)

        def step() -> None:
            objective.zero_grad(set_to_none=True)
            objective(batch, np.random.default_rng(0)).total.backward()

        return step

    return {"without": make_step(plain), "with the loss": make_step(config)}


def reference(options: argparse.Namespace) -> dict[str, Step]:
    """The reference model with the losses of its own training, on a batch of scenes."""
    return _reference_steps(options)


def _run(rank: int, name: str, options: argparse.Namespace, rounds: int, folder: str) -> None:
    """Time the steps of one of two processes; the first one writes what it measured."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    make, count = IN_TWO_PROCESSES[name]
    half = 1 if options.quick else getattr(options, count) // 2
    part = slice(0, half) if rank == 0 else slice(half, 2 * half)
    measured = measure(make(options, part), rounds, _clock(options))
    if rank == 0:
        torch.save(measured, f"{folder}/measured")
    torch.distributed.destroy_process_group()


def measure_in_two_processes(name: str, options: argparse.Namespace, rounds: int) -> Measured:
    """Measure a model's losses in two processes of one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_run, (name, options, rounds, folder), nprocs=2)
        return torch.load(f"{folder}/measured")  # type: ignore[no-any-return]


MODELS = {
    "TIRG-ResNet-50": tirg,
    "CLIP ViT-B/32": clip,
    "CLIP ViT-B/32, LoRA": clip_with_adapters,
    "CLIP ViT-B/32, cached images": cached_clip,
    "CLIP ViT-B/32, cached images, frozen texts": frozen_clip,
    "CLIP ViT-B/32, cached images and texts": cached_texts,
    "CLIP ViT-B/32, config cirr-frozen": kept_clip,
    "BLIP-2 Q-Former, cached images": q_former,
    "reference": reference,
}
IN_TWO_PROCESSES = {
    "CLIP ViT-B/32, two processes": (clip, "batch"),
    "reference, two processes": (_reference_steps, "scenes"),
}
"""Name to what makes the steps of a part of the batch, and the option that says how large the batch is."""


def _clock(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.cpu_time else time.perf_counter


class Work(Live):
    """Counts the floating-point operations of matrix products and convolutions, and the peak of memory, in a block."""

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        super().__init__(known)
        self.count = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        made = super().__torch_dispatch__(operation, types, args, kwargs)
        formula = flop_registry.get(operation.overloadpacket)
        self.count += 0 if formula is None else formula(*args, **(kwargs or {}), out_val=made)
        return made


def measure(steps: dict[str, Step], rounds: int, clock: Callable[[], float]) -> Measured:
    """Count the work of every kind of step, and time it in every round; the order rotates.

    The first, counted step of each kind also warms up and has its graph checked.
    """
    kinds = list(steps)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    work = {}
    for kind, step in steps.items():
        step()
        with Work() as done:
            step()
        work[kind] = done.count, done.high
    for turn in range(rounds):
        for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
            began = clock()
            steps[kind]()
            seconds[kind].append(clock() - began)
    return seconds, work


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", choices=[*MODELS, *IN_TWO_PROCESSES], default=[*MODELS, *IN_TWO_PROCESSES],
        metavar="NAME",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=8, help="samples of the large models (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=24, help="scenes of the reference model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the reference config")
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds: for a busy machine")
    parser.add_argument("--quick", action="store_true", help="tiny models, as a test of the whole path")
    options = parser.parse_args(argv)
    rounds = 2 if options.quick else options.rounds
    print(f"{environment_line()}; {rounds} paired rounds, {'processor' if options.cpu_time else 'wall'} seconds\n")
    rows = []
    for name in options.models:
        print(f"timing {name}", file=sys.stderr, flush=True)
        torch.manual_seed(0)
        if name in IN_TWO_PROCESSES:
            seconds, work = measure_in_two_processes(name, options, rounds)
        else:
            seconds, work = measure(MODELS[name](options), rounds, _clock(options))
        base = np.array(seconds["without"])
        for kind, values in seconds.items():
            ratios = np.array(values) / base
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            target = f"<= {TARGETS[name]:.2f}" if kind == "with the loss" and name in TARGETS else ""
            more = [f"{own / of_base:.2f}" for own, of_base in zip(work[kind], work["without"], strict=True)]
            spread = f"{low:.2f} to {high:.2f}"
            rows.append([name, kind, f"{np.median(values):.3f}", f"{middle:.2f}", spread, *more, target])
    header = "model|step|median seconds|ratio|middle half of the rounds|ratio of operations|ratio of peak memory|target"
    print(markdown_table(header.split("|"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
