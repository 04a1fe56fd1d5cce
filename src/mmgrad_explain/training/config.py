"""Every option of a training run. A config file names the same keys; see :mod:`mmgrad_explain.training.config_file`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.data.scenes.edits import EDITS
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.metrics.map_figures import MAP_FIGURES
from mmgrad_explain.training.objective.options import DenseOptions, GroundingOptions, RetrievalOptions, check_precision
from mmgrad_explain.training.sources.base import SceneSourceOptions
from mmgrad_explain.training.sources.photos import PhotoOptions
from mmgrad_explain.training.sources.triplets import TripletSourceOptions

METRICS = ("r1", "sibling_r1", *(figure.name for figure in MAP_FIGURES if not figure.full_size_only))
"""What is measured on held-out data; small is good for ``dead`` alone."""


@dataclass(frozen=True)
class LoraOptions:
    """Low-rank adapters, the only part of the backbone that is trained then; merged into the saved model.

    Attributes:
        rank: Of the adapters; 0 trains the backbone itself.
        alpha: Their scale, over the rank.
        dropout: On their input, in training.
        targets: Names of the layers that get one, as their last part.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        if self.rank < 0 or not 0 <= self.dropout < 1:
            raise InputError(f"lora: rank must be at least 0 and dropout in [0, 1), got {self.rank}, {self.dropout}")


@dataclass(frozen=True)
class ModelOptions:
    """What is trained.

    Attributes:
        path: A bundled name, a model folder or a hub id to start from; a CLIP model gets a new combiner. Null builds a
            new reference network.
        sizes: Of a new reference network: fields of ``NetworkConfig``.
        words: That a new network knows beside those of its sources.
        backbone_weights: Of a new reference network with a timm backbone: ``pretrained``, or a safetensors file.
        combiner_width: Of a new combiner on CLIP.
        fit: How pictures are brought to CLIP's square: ``letterbox`` shows all of them, ``crop`` cuts their sides.
        freeze: Dotted names of parts that are not trained.
        lora: Low-rank adapters.
        gradient_checkpointing: Compute the encoder's activations anew in the backward pass instead of keeping them.
    """

    path: str | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    backbone_weights: str | None = None
    combiner_width: int = 512
    fit: str = "letterbox"
    freeze: tuple[str, ...] = ()
    lora: LoraOptions = field(default_factory=LoraOptions)
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.path is not None and (self.sizes or self.backbone_weights):
            raise InputError("model.sizes and model.backbone_weights are for a new network: leave model.path out")
        if self.path is not None and self.words:
            raise InputError("model.words are for a new network, and model.path knows its own: leave one of them out")
        if self.path is None and self.shapes_combiner:
            raise InputError("model.combiner_width and model.fit are for a new combiner on CLIP: name it by model.path")

    @property
    def shapes_combiner(self) -> bool:
        """Whether anything is said of a new combiner."""
        return (self.combiner_width, self.fit) != (ModelOptions.combiner_width, ModelOptions.fit)


@dataclass(frozen=True)
class PhotoSourceOptions(PhotoOptions):
    """A folder of labelled photographs, edited while training. Further keys: see ``PhotoOptions``.

    Attributes:
        folder: Holds ``photos/``, ``labels/`` and ``labels.json``.
        weight: How often the source is drawn, relative to the others.
    """

    folder: str = ""
    weight: float = 1.0


SOURCES = {"scenes": SceneSourceOptions, "photos": PhotoSourceOptions, "triplets": TripletSourceOptions}
"""Options of each kind of source."""


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW with linear warm-up and half a cosine down.

    Attributes:
        lr: Highest learning rate.
        backbone_lr: Of parts that were trained before (``Composer.backbone``), as a share of ``lr``.
        weight_decay: Of matrices; vectors have none.
        betas: Of AdamW.
        warmup: Steps of warm-up.
        final: Learning rate at the end, as a share of the highest.
        clip: Longest gradient.
    """

    lr: float = 1e-3
    backbone_lr: float = 1.0
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 150
    final: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"optimizer.{name} must be above 0, got {getattr(self, name)}")
        for name in ("backbone_lr", "weight_decay", "warmup", "final"):
            if not getattr(self, name) >= 0:
                raise InputError(f"optimizer.{name} must be at least 0, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optimizer.betas must be at least 0 and below 1, got {list(self.betas)}")


@dataclass(frozen=True)
class EvaluationOptions:
    """Looking at held-out data during training.

    Attributes:
        every: Steps between evaluations; 0 evaluates at the end alone.
        batches: Batches that are looked at, of the size of training batches.
        seed: Of held-out scenes and edits; another than the run's.
        best: Which of the figures decides what is kept as the model: r1, sibling_r1, pointing, energy, iou, contrast
            or dead. Null keeps the last weights.
        maps: How many held-out samples are drawn in the picture of maps over time, and logged as overlays.
    """

    every: int = 500
    batches: int = 4
    seed: int = 1_000_003
    best: str | None = None
    maps: int = 6

    def __post_init__(self) -> None:
        if self.best is not None and self.best not in METRICS:
            hint = did_you_mean(self.best, METRICS)
            raise InputError(f"evaluation.best: there is no figure {self.best!r}: {hint}use {', '.join(METRICS)}")
        if self.every < 0 or self.batches < 1 or self.maps < 0:
            raise InputError("evaluation: every and maps must be at least 0, batches at least 1")
        if self.best is not None and self.every == 0:
            raise InputError("evaluation.best needs evaluation.every above 0")


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        seed: Of the initial weights and the data.
        steps: Optimizer steps.
        precision: ``bf16``: the backbone runs in bfloat16, all else in float32. ``bf16-composer``: text encoder and
            composer in bfloat16, too; maps and losses in float32. ``float32``: all of it.
        ema: Decay of the moving average of the weights, which is evaluated and saved then; 0 has none.
        workers: Processes that prepare data; 0 prepares them in between.
        device: ``auto`` takes an accelerator where there is one, ``cpu`` never does.
        mix: With several sources: ``step`` shows one in each step, by weight; ``batch`` all of them in each batch.
        log_every: Steps between lines of metrics.
        save_every: Steps between checkpoints.
        keep: Checkpoints that are kept.
        tensorboard: Write curves and overlays for TensorBoard, where it is installed.
        wandb: Log the same to Weights & Biases, which must be installed; ``WANDB_PROJECT`` names the project.
        model: What is trained.
        sources: What it is trained on: name to options; ``kind`` names the kind of source where the name does not.
        retrieval: What is added to InfoNCE.
        grounding: The grounding loss.
        dense: Labels on the feature grid.
        optimizer: How weights change.
        evaluation: Looking at held-out data.
    """

    seed: int = 0
    steps: int = 4000
    precision: str = "bf16"
    ema: float = 0.0
    workers: int = 1
    device: str = "auto"
    mix: str = "step"
    log_every: int = 20
    save_every: int = 200
    keep: int = 2
    tensorboard: bool = True
    wandb: bool = False
    model: ModelOptions = field(default_factory=ModelOptions)
    sources: dict[str, Any] = field(default_factory=lambda: {"scenes": SceneSourceOptions()})
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    grounding: GroundingOptions = field(default_factory=GroundingOptions)
    dense: DenseOptions = field(default_factory=DenseOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.seed == self.evaluation.seed:
            raise InputError("seed and evaluation.seed must differ: held-out scenes must not be trained on")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must be at least 0 and below 1, got {self.ema}")
        if self.device not in {"auto", "cpu"}:
            raise InputError(f"device must be 'auto' or 'cpu', not {self.device!r}")
        check_precision(self.precision)
        self._check_sources()
        self._check_edits()

    def _check_sources(self) -> None:
        """Options that none of the sources reads."""
        if self.mix not in {"step", "batch"}:
            raise InputError(
                f"mix must be 'step' (each step shows one source) or 'batch' (all of them), not {self.mix!r}"
            )
        if self.mix == "batch" and len({options.weight for options in self.sources.values()}) > 1:
            raise InputError("sources: weights are for mix: step; with mix: batch every source is in each batch")
        if self.grounding.context and not any(isinstance(one, SceneSourceOptions) for one in self.sources.values()):
            raise InputError(
                "grounding.context: none of the sources says what else a text speaks of, as scenes do; set it to 0"
            )

    def _check_edits(self) -> None:
        """Kinds of edits that no source makes; a folder of triplets may have kinds of its own."""
        if any(isinstance(one, TripletSourceOptions) for one in self.sources.values()):
            return
        known = tuple(dict.fromkeys((*EDITS, *EDIT_KINDS)))
        for name in self.grounding.target_side:
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"grounding.target_side: there is no edit {name!r}: {hint}use {', '.join(known)}")
