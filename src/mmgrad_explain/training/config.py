"""All options of a training run, with the keys of a config file (:mod:`mmgrad_explain.training.config_file`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.data.scenes.planning import EDITS
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.images.ratio_padding import check_ratio
from mmgrad_explain.training.benchmarks import WITH_SERVER, Benchmark, benchmark_of, find_benchmarks
from mmgrad_explain.training.objective.options import (
    MASK_TERMS,
    UNMASKED_TERMS,
    DenseOptions,
    GroundingOptions,
    ObjectiveOptions,
    RetrievalOptions,
    check_precision,
)
from mmgrad_explain.training.option_checks import check_at_least_one, check_not_negative, check_positive
from mmgrad_explain.training.sources.mixture import check_mix
from mmgrad_explain.training.sources.photo_pairs import PAIR_EDITS
from mmgrad_explain.training.sources.scenes import SceneSourceOptions


@dataclass(frozen=True)
class LoraOptions:
    """Low-rank adapters: they are trained in place of the backbone's own weights, and merged into the saved model.

    Attributes:
        rank: Rank of the adapters; 0 trains the backbone itself.
        alpha: Scale of the adapters, divided by the rank.
        dropout: Dropout on their input, in training.
        targets: Last parts of the names of the layers that get an adapter.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        if self.rank < 0 or not 0 <= self.dropout < 1:
            raise InputError(f"lora: rank must be at least 0 and dropout in [0, 1), got {self.rank}, {self.dropout}")


NEW_NETWORK = ("sizes", "words", "backbone_weights", "segmenter_weights", "part_words")
"""Options of :class:`ModelOptions` that describe a new network."""


@dataclass(frozen=True)
class ModelOptions:
    """The model to train.

    Attributes:
        path: A bundled name, a model folder or a hub id to start from; a CLIP model gets a new combiner. Null builds a
            new reference network.
        image_size: Side of the images in pixels that a reference model of ``path`` is trained on from here on; null
            leaves it as it is. A larger side shows small things better, and costs time.
        sizes: Sizes and trunk of a new reference network: fields of ``NetworkConfig``.
        words: Words that a new network knows in addition to those of its sources.
        backbone_weights: Weights of the trunk of a new reference network: ``pretrained``, or a safetensors file with
            timm's names, for which ``sizes.mean`` and ``sizes.std`` must be given.
        segmenter_weights: Weights of the segmentation head on the trunk of a new reference network
            (``sizes.segmenter``), a safetensors file.
        part_words: Words for each named part of a new reference network (``sizes.named_parts``), by its name, in the
            order of the label map ``object`` without the background; the names count as words, and plurals too.
        composer: How a model with two towers composes, for one without a way of its own: ``sum``; a method of
            :data:`~mmgrad_explain.composers.fusion.registry.METHODS`, new; or ``sprc``, BLIP-2's own Q-Former. Null
            takes the model as it is, and puts a combiner on CLIP.
        composer_options: Sizes and options of a new method.
        pad_ratio: Long images are padded towards this ratio of their sides, then resized and cropped, as CLIP4Cir and
            SPRC do with 1.25; for a new method, and for ``sprc``. Null leaves them to the tower's own processor.
        combiner_width: Width of a new combiner on CLIP.
        fit: How images are fitted into CLIP's square: ``letterbox`` shows all of an image, ``crop`` cuts its sides.
        freeze: Dotted names of parts that are not trained.
        cache: Folder in which the features of a frozen image encoder are kept, and what makes its maps, so that each
            image is encoded once.
        lora: Low-rank adapters.
        gradient_checkpointing: Recompute the encoder's activations in the backward pass instead of keeping them.
    """

    path: str | None = None
    image_size: int | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    backbone_weights: str | None = None
    segmenter_weights: str | None = None
    part_words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    composer: str | None = None
    composer_options: dict[str, Any] = field(default_factory=dict)
    pad_ratio: float | None = None
    combiner_width: int = 512
    fit: str = "letterbox"
    freeze: tuple[str, ...] = ()
    cache: str | None = None
    lora: LoraOptions = field(default_factory=LoraOptions)
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.path is not None and (self.sizes or self.backbone_weights or self.segmenter_weights):
            raise InputError(
                "model.sizes, model.backbone_weights and model.segmenter_weights are for a new network: leave "
                "model.path out"
            )
        if self.path is not None and (self.words or self.part_words):
            raise InputError(
                "model.words and model.part_words are for a new network, and model.path knows its own: leave one of "
                "them out"
            )
        if self.backbone_weights is not None and not self.is_from_timm and not {"mean", "std"} <= self.sizes.keys():
            raise InputError(
                "model.backbone_weights: say how these weights take pixels in [0, 1], by model.sizes.mean and "
                "model.sizes.std: mostly 0.5 and 0.5 for weights of TensorFlow, [0.485, 0.456, 0.406] and "
                "[0.229, 0.224, 0.225] for others of ImageNet"
            )
        if self.path is None and self.composer is not None:
            raise InputError("model.composer is put on a model with two towers: name it by model.path")
        if self.composer_options and self.composer in {None, "sum", "sprc"}:
            raise InputError("model.composer_options are those of a new method: name it by model.composer")
        if self.pad_ratio is not None:
            check_ratio(self.pad_ratio)
            if self.composer in {None, "sum"}:
                raise InputError("model.pad_ratio is for a new method, or sprc: name it by model.composer")
        if self.path is None and self.shapes_combiner:
            raise InputError("model.combiner_width and model.fit are for a new combiner on CLIP: name it by model.path")

    @property
    def is_from_timm(self) -> bool:
        """Whether a new network begins with timm's own weights."""
        return self.backbone_weights == "pretrained"

    @property
    def shapes_combiner(self) -> bool:
        """Whether an option of a new combiner differs from its default."""
        return (self.combiner_width, self.fit) != (ModelOptions.combiner_width, ModelOptions.fit)


SCHEDULES = ("cosine", "linear", "constant")
"""Names of the schedules of the learning rate."""


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW with a linear warm-up and a decay of the learning rate.

    Attributes:
        lr: Highest learning rate.
        backbone_lr: Learning rate of pretrained parts (``Composer.backbone``), as a share of ``lr``.
        weight_decay: Weight decay of matrices; vectors have none.
        betas: Betas of AdamW.
        warmup: Steps of warm-up.
        schedule: The learning rate after the warm-up: ``cosine`` or ``linear`` decay, or ``constant``.
        final: Learning rate at the end of a decay, as a share of the highest.
        clip: Largest norm of the gradient; a longer one is scaled down.
    """

    lr: float = 1e-3
    backbone_lr: float = 1.0
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 150
    schedule: str = "cosine"
    final: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        check_positive("optimizer.", self, "lr", "clip")
        check_not_negative("optimizer.", self, "backbone_lr", "weight_decay", "warmup", "final")
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        if self.final and self.schedule == "constant":
            raise InputError("optimizer.final is where a decay ends, and optimizer.schedule is constant: set it to 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optimizer.betas must be at least 0 and below 1, got {list(self.betas)}")


@dataclass(frozen=True)
class EvaluationOptions:
    """Evaluation on held-out data during training.

    Attributes:
        every: Steps between evaluations; 0 evaluates at the end only.
        batches: Number of batches, each as large as a training batch.
        seed: Seed of held-out scenes and edits; must differ from the run's.
        best: Figure on held-out data that decides which weights are saved as the model, such as ``pointing``, or one
            of a benchmark, such as ``cirr.val.r1``. Null saves the last weights.
        benchmarks: Published splits of sources of kind ``cir`` that are measured by their protocol as well, such as
            ``cirr.val``; that of ``best`` always is.
        submissions: Test splits of sources of kind ``cir`` whose targets a server has, such as ``cirr.test1``: at the
            end the files for the server are written into the run folder's ``submissions``.
        maps: Number of held-out samples in ``maps.png``, also logged as overlays.
    """

    every: int = 500
    batches: int = 4
    seed: int = 1_000_003
    best: str | None = None
    benchmarks: tuple[str, ...] = ()
    submissions: tuple[str, ...] = ()
    maps: int = 6

    def __post_init__(self) -> None:
        if self.best is not None and not benchmark_of(self.best):
            from mmgrad_explain.training.figures import HELD_OUT  # with all of what measures them

            if self.best not in HELD_OUT:
                hint = did_you_mean(self.best, HELD_OUT)
                raise InputError(f"evaluation.best: there is no figure {self.best!r}: {hint}use {', '.join(HELD_OUT)}")
        if self.every < 0 or self.batches < 1 or self.maps < 0:
            raise InputError("evaluation: every and maps must be at least 0, batches at least 1")
        if self.best is not None and self.every == 0:
            raise InputError("evaluation.best needs evaluation.every above 0")

    @property
    def measured_benchmarks(self) -> tuple[str, ...]:
        """Names of all benchmarks that are measured."""
        best = benchmark_of(self.best or "")
        return tuple(dict.fromkeys((*self.benchmarks, best) if best else self.benchmarks))


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        seed: Seed of the initial weights and the data.
        steps: Optimizer steps.
        precision: ``bf16``: the backbone runs in bfloat16, everything else in float32. ``bf16-composer``: text encoder
            and composer run in bfloat16 as well. ``float32``: everything in float32. Maps and losses always are.
        accumulate: Parts into which the batch of a step is split, to save memory; each is a batch of its own for all
            losses, negatives included.
        ema: Decay of a moving average of the weights, which is then evaluated and saved in their place; 0 has none.
        workers: Processes that prepare data; 0 prepares them in the training process.
        device: ``auto`` takes an accelerator if there is one, ``cpu`` never does.
        mix: With several sources: ``step`` shows one in each step, by weight; ``batch`` all of them in each batch.
        log_every: Steps between lines of metrics.
        save_every: Steps between checkpoints.
        keep: Number of checkpoints that are kept.
        tensorboard: Write curves and overlays for TensorBoard, if it is installed.
        wandb: Log the same to Weights & Biases, which must be installed; ``WANDB_PROJECT`` names the project.
        model: The model to train.
        sources: The training data: options by name; ``kind`` gives the kind of source if the name does not.
        retrieval: Additions to the InfoNCE loss.
        grounding: The grounding loss.
        dense: Labels on the feature grid.
        optimizer: The optimizer.
        evaluation: Evaluation on held-out data.
    """

    seed: int = 0
    steps: int = 4000
    precision: str = "bf16"
    accumulate: int = 1
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
        check_at_least_one("", self, "steps", "log_every", "save_every", "keep", "accumulate")
        check_not_negative("", self, "seed", "workers")
        if self.seed == self.evaluation.seed:
            raise InputError("seed and evaluation.seed must differ: held-out scenes must not be trained on")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must be at least 0 and below 1, got {self.ema}")
        if self.device not in {"auto", "cpu"}:
            raise InputError(f"device must be 'auto' or 'cpu', not {self.device!r}")
        check_precision(self.precision)
        self._check_sources()
        self._check_edits()
        self._check_benchmarks()
        self._check_cache()

    @property
    def objective(self) -> ObjectiveOptions:
        """The options of the loss of a step."""
        return ObjectiveOptions(
            self.grounding, self.dense, self.retrieval, self.precision, self.model.gradient_checkpointing
        )

    @property
    def benchmarks(self) -> list[Benchmark]:
        """The benchmarks that the evaluation measures."""
        return find_benchmarks(self.sources, self.evaluation.measured_benchmarks)

    def _check_sources(self) -> None:
        """Refuse options that none of the sources would use."""
        check_mix(self.mix)
        if self.mix == "batch" and len({options.weight for options in self.sources.values()}) > 1:
            raise InputError("sources: weights are for mix: step; with mix: batch every source is in each batch")
        self._check_regions()
        if self.grounding.context and not any(options.knows_context for options in self.sources.values()):
            raise InputError(
                "grounding.context: none of the sources knows the other objects in a text, as scenes do; set it to 0"
            )
        if self.grounding.selfeq and not any(options.knows_paraphrases for options in self.sources.values()):
            raise InputError(
                "grounding.selfeq: none of the sources has paraphrases of its texts; set it to 0, or take "
                "grounding.mirror or grounding.texts, which need none"
            )
        if not any(options.knows_facts for options in self.sources.values()):
            needs = {
                "retrieval.across": self.retrieval.across,
                "retrieval.facts": self.retrieval.facts,
                "evaluation.best": self.evaluation.best == "search",
            }
            for name, used in needs.items():
                if used:
                    raise InputError(f"{name}: none of the sources knows what its images show, as photos with pairs do")

    def _check_regions(self) -> None:
        """Refuse terms that need masks where there are none, and comparisons of maps where nothing compares them."""
        needs_masks = [name for name in (*MASK_TERMS, "pooling") if getattr(self.grounding, name)]
        if needs_masks and not any(options.knows_regions for options in self.sources.values()):
            names = ", ".join(f"grounding.{name}" for name in needs_masks)
            raise InputError(
                f"{names}: none of the sources says where maps should be bright: name a way by sources.NAME.masks, "
                f"such as clipseg or segments, or set to 0; terms that need no masks are {', '.join(UNMASKED_TERMS)}"
            )
        for name, options in self.sources.items():
            if options.compares_maps and not self.grounding.looks_without_masks:
                raise InputError(
                    f"sources.{name}.masks: 'self' compares maps with each other, and no term does: give one of "
                    f"{', '.join(f'grounding.{term}' for term in UNMASKED_TERMS)} a weight"
                )

    def _check_benchmarks(self) -> None:
        """Refuse benchmarks that no source has, a best figure that its benchmark lacks, and submissions to nobody."""
        for one in find_benchmarks(self.sources, self.evaluation.submissions):
            if one.options.set not in WITH_SERVER:
                raise InputError(
                    f"evaluation.submissions: no server takes {one.name!r}: only {' and '.join(WITH_SERVER)} have one"
                )
        best = self.evaluation.best or ""
        for benchmark in self.benchmarks:
            if benchmark.name == benchmark_of(best) and best not in (known := benchmark.figures()):
                hint = did_you_mean(best, known)
                raise InputError(f"evaluation.best: there is no figure {best!r}: {hint}use {', '.join(known)}")

    def _check_cache(self) -> None:
        """Refuse a cache for images that do not return, and for maps that need more of the encoder than is kept."""
        if self.model.cache is None:
            return
        for name, options in self.sources.items():
            if options.draws_images:
                raise InputError(
                    f"model.cache: sources.{name} draws its images anew in every batch, and features of an image that "
                    "does not return help nobody: leave model.cache out, or the source"
                )
        if self.grounding.supervises_maps:
            for method in self.grounding.methods:
                if not ensure_method(method).needs.of_layers_alone:
                    raise InputError(
                        f"model.cache: maps by {method} are made of the encoder's attention, which is not kept: set "
                        "grounding.method to gradcam, xgradcam or hirescam, or leave model.cache out"
                    )

    def _check_edits(self) -> None:
        """Refuse kinds of edits that no source makes."""
        if any(options.has_own_edits for options in self.sources.values()):
            return
        known = tuple(dict.fromkeys((*EDITS, *EDIT_KINDS, *PAIR_EDITS)))
        for name in self.grounding.target_side:
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"grounding.target_side: there is no edit {name!r}: {hint}use {', '.join(known)}")
