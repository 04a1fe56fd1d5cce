"""The models of the test-bed, their training and how well they do their own task."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from testbed import losses, scenes
from testbed.networks import RelationNetwork, Tirg
from testbed.scenes import Edits, Pool, draw_edits, draw_pool, edit_processor
from testbed.towers import JointMatcher, MeanClip, PlainClip, build_clip, build_llava, build_siglip, start_from
from testbed.training import Schedule, save, settings_hash, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

TRAINING_SEED = 100
"""The series of scenes that models train on."""


@dataclass(frozen=True)
class Stranger:
    """A model of the test-bed.

    Attributes:
        name: Its name in tables.
        kind: What kind of model it is: the default is decided by this.
        task: ``"captions"``, ``"questions"``, ``"words"`` or ``"edits"``.
        loss: Name of its loss in :mod:`testbed.losses`.
        sizes: The arguments of its builder; ``size`` is the side of its images in pixels.
        schedule: Its training.
        scenes: How many scenes it trains on.
        start: Whose convolutions or vision tower it starts from.
    """

    name: str
    kind: str
    task: str
    loss: str
    sizes: dict[str, Any]
    schedule: Schedule
    scenes: int = 30_000
    start: str = ""
    seed: int = field(default=1)

    @property
    def size(self) -> int:
        """The side of its images, pixels."""
        return int(self.sizes["size"])

    @property
    def places(self) -> int:
        """Cells of its patches."""
        return (self.size // int(self.sizes.get("patch", self.size))) ** 2


_VIT = {"width": 96, "layers": 6, "size": 64, "patch": 8}
STRANGERS = {
    one.name: one
    for one in (
        Stranger(
            "relation", "CNN, not pooled", "questions", "answering_loss",
            {"channels": [24, 48, 64, 96], "size": 80}, Schedule(5000, 64, rate=3e-3, bfloat16=True),
        ),
        Stranger("tirg", "CNN, pooled globally", "edits", "composing_loss",
                 {"channels": [32, 64, 96], "size": 64}, Schedule(800, 48, bfloat16=True), scenes=20_000),
        Stranger("clip", "class token", "captions", "contrastive_loss", _VIT, Schedule(1600, 48)),
        Stranger("clip-plain", "class token", "captions", "dense_contrastive_loss",
                 {**_VIT, "layers": 8, "width": 64}, Schedule(2000, 32, warm=150, part=100)),
        Stranger("clip-mean", "mean of the tokens", "captions", "contrastive_loss", _VIT,
                 Schedule(400, 48, rate=6e-4, part=100), start="clip"),
        Stranger("siglip", "attention pooling", "captions", "sigmoid_loss", _VIT,
                 Schedule(600, 32, rate=8e-4, part=100), start="clip"),
        Stranger("joint", "joint", "captions", "matching_loss",
                 {"width": 96, "layers": 4, "size": 64, "channels": [24, 48, 64]},
                 Schedule(2000, 48, rate=1.5e-3, bfloat16=True, part=100), start="relation"),
        Stranger("llava", "generative", "words", "wording_loss",
                 {**_VIT, "layers": 3, "decoder_layers": 4, "channels": [24, 48, 64]},
                 Schedule(1800, 24, rate=1.5e-3, bfloat16=True, part=100), start="relation"),
    )
}  # fmt: skip
"""The models by name."""

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "clip": build_clip, "clip-plain": PlainClip, "clip-mean": MeanClip, "siglip": build_siglip, "joint": JointMatcher,
    "llava": build_llava,
}  # fmt: skip


def build(stranger: Stranger) -> nn.Module:
    """Build a model with the random weights of its seed."""
    torch.manual_seed(stranger.seed)
    sizes = dict(stranger.sizes)
    if stranger.task == "questions":
        return RelationNetwork(channels=tuple(sizes["channels"]))
    if stranger.task == "edits":
        vocabulary = edit_processor(stranger.size).tokenizer.get_vocab_size()
        return Tirg(channels=tuple(sizes["channels"]), vocabulary=vocabulary)
    return _BUILDERS[stranger.name](**sizes)


def shorten(stranger: Stranger) -> Stranger:
    """Make a model that trains in a second, as a test of the path."""
    sizes = {**stranger.sizes}
    if "width" in sizes:
        sizes.update(width=16, layers=3, size=32)
    else:
        sizes.update(size=48 if stranger.task == "questions" else 32)
    schedule = replace(stranger.schedule, steps=2, batch=4, part=1)
    return replace(stranger, sizes=sizes, schedule=schedule, scenes=8)


def draw(stranger: Stranger, seed: int, count: int, cache: Path, *, masks: bool = False) -> Pool | Edits:
    """Draw the scenes that a model works on, or load them."""
    kind = Edits if stranger.task == "edits" else Pool
    path = cache / f"scenes-{kind.__name__.lower()}-{seed}-{count}-{stranger.size}-{masks:d}.pt"
    if not path.exists():
        make = draw_edits if kind is Edits else draw_pool
        save(vars(make(seed, count, stranger.size, masks=masks)), path)
    return kind(**torch.load(path, weights_only=True))


def checkpoint(stranger: Stranger, cache: Path) -> Path:
    """Return the file of a trained model; its name holds the hash of all settings."""
    of = {**asdict(stranger), "started": asdict(STRANGERS[stranger.start]) if stranger.start else None}
    of["words"] = [scenes.WORDS, asdict_options()]
    return cache / f"{stranger.name}-{settings_hash(of)}.pt"


def asdict_options() -> list[Any]:
    """Return the options of the scenes that matter."""
    return [scenes.OPTIONS.objects, scenes.OPTIONS.pairs]


def prepare(stranger: Stranger, cache: Path, *, quick: bool = False) -> tuple[nn.Module, float]:
    """Build a model and train it, or load it; give it and the seconds of its training."""
    model = build(stranger)
    path = checkpoint(stranger, cache)
    if stranger.start and not path.exists():
        first = STRANGERS[stranger.start]
        trained, _ = prepare(shorten(first) if quick else first, cache, quick=quick)
        start_from(model, trained)
    pool: list[Any] = []

    def loss_of(model: nn.Module, rng: np.random.Generator, done: float) -> Tensor:
        if not pool:
            pool.append(draw(stranger, TRAINING_SEED, stranger.scenes, cache))
        found: Tensor = getattr(losses, stranger.loss)(model, pool[0], stranger.schedule.batch, rng, done)
        return found

    seconds = train(model, loss_of, stranger.schedule, path, seed=1000 * stranger.seed)
    return model, seconds
