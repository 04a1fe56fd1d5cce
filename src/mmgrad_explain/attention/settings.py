"""What MMGrad keeps between calls: how maps are made, and what was found out about the model."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from mmgrad_explain.attention.assembly import assemble
from mmgrad_explain.attention.attention_layers.known_sites import attention_sites
from mmgrad_explain.attention.attention_layers.sites import AttentionSite, find_mixing_blocks
from mmgrad_explain.attention.default_method import TRANSFORMER, Automatic, choose_default, is_followed
from mmgrad_explain.attention.layers.candidates import find_layer, search_layer
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.attention.model_hints import ask_default_method, ask_default_score, ask_layout_for
from mmgrad_explain.attention.places.image_owners import ImageOwners
from mmgrad_explain.attention.places.record_layouts import KnownLayouts, find_layouts
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.running.modules import ParentOf, find_layers, find_modules, plain_modules
from mmgrad_explain.attention.scores.checks import check_finite
from mmgrad_explain.attention.scores.guess import mention_guess
from mmgrad_explain.attention.word_values.embedding_gradient import WordCapture
from mmgrad_explain.attention.word_values.measure import ExplainedCall, measure_words
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mmgrad_explain.attention.methods.base import Method, MethodMaps, NameModules, Needs
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.running.input_images import InputImage
    from mmgrad_explain.attention.scores.base import Score
    from mmgrad_explain.attention.word_values.request import WordRequest
    from mmgrad_explain.explanation.fusion import Fuse
    from mmgrad_explain.explanation.result import Explanation


@dataclass(frozen=True)
class Plan:
    """What a method needs to have recorded in a forward.

    Attributes:
        layers: Name to module of the target layers, whose outputs are recorded.
        blocks: Name to module of the blocks whose tokens lie on the image, recorded likewise.
        attention: Name to module of the modules inside which attention is recorded.
        replayed: Name to module of the modules whose whole outputs are kept.
        sites: All attention of the model; empty unless the method needs attention.
        gradient: Whether anything is differentiated, so that the forward keeps its graph.
    """

    layers: dict[str, nn.Module]
    blocks: dict[str, nn.Module] = field(default_factory=dict)
    attention: dict[str, nn.Module] = field(default_factory=dict)
    replayed: dict[str, nn.Module] = field(default_factory=dict)
    sites: tuple[AttentionSite, ...] = ()
    gradient: bool = True


@dataclass
class MapSettings:
    """How maps of a model are made, and what earlier calls found out about it.

    Attributes:
        root: The unwrapped model.
        score: The caller's score; None if there is none.
        method: How maps are made, by the caller, the model or the gradient; None as long as it has not been chosen.
        by_kind: How maps of models of this kind are made, where nothing was named; None as long as that is not known.
        layout: The caller's layout; None if there is none.
        fuse_name: Name of the fusion of several layers' maps.
        fuse: The fusion.
        layers: Name to module of the target layers; None as long as they have not been found.
        named: Whether the caller named them.
        words: What is wanted of the words; None where no words are wanted.
        words_layer: Name to module of the embedding of words, where the caller named it.
        verified: The kinds of graph that were checked for a second derivative.
        known_layouts: The layouts that were inferred.
        owners: The input images of each call of a layer.
        known_sites: The attention of the model that was found, by the images of the call.
        scorer: What computed the score of the last call.
    """

    root: nn.Module
    score: Score | None
    method: Method | None
    layout: AnyLayout | None
    fuse_name: str
    fuse: Fuse
    layers: dict[str, nn.Module] | None
    words: WordRequest | None
    words_layer: dict[str, nn.Module] | None
    named: bool = False
    verified: set[tuple[Any, ...]] = field(default_factory=set)
    known_layouts: KnownLayouts = field(default_factory=dict)
    known_sites: dict[tuple[InputImage, ...], tuple[AttentionSite, ...]] = field(default_factory=dict)
    scorer: Score | None = None
    by_kind: Method | None = None
    owners: ImageOwners = field(init=False)

    def __post_init__(self) -> None:
        self.owners = ImageOwners(self.root, split=self.layout is None or isinstance(self.layout, Layout))

    @property
    def packed(self) -> bool:
        """Whether the caller or the model places the cells of packed images."""
        is_placed = self.layout is not None and not isinstance(self.layout, Layout)
        return is_placed or ask_layout_for(self.root) is not None

    def choose_method(
        self, inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None, images: tuple[InputImage, ...] = ()
    ) -> Method:
        """Return the method: the caller's, the model's own default, or the one for models of its kind.

        The last is found in the first call, with the target layers where none is named, and remembered.

        Args:
            inputs: (args, kwargs) of a call of the undisturbed model; None where the model is not to be run.
            images: The images among them.

        Raises:
            InputError: as :func:`search_layer`.
            GradientError: as :func:`search_layer`.
        """
        if self.method is None and (own := ask_default_method(self.root)) is not None:
            self.method = ensure_method(own)
        if self.method is not None:
            return self.method
        if self.by_kind is None and inputs is not None and not self.named:
            self.by_kind = self._choose_by_kind(inputs, images)
        return self.by_kind or Automatic()

    def choose_layer_method(self) -> Method:
        """Return the method where only target layers are seen: another kind is taken only if it was named."""
        method = self.choose_method()
        return method if self.method is not None or method.needs.of_layers_alone else Automatic()

    def _choose_by_kind(
        self, inputs: tuple[tuple[Any, ...], dict[str, Any]], images: tuple[InputImage, ...]
    ) -> Method | None:
        """Choose by what the model does with its layers; None leaves it to the gradient at the model's own layer."""
        method = None
        if self.layers is None:
            search = search_layer(self.root, *inputs, self.score)
            method, names, of_tokens = choose_default(search)
            self.layers = find_layers(self.root, names)
            if not of_tokens:
                return method
        return ensure_method(TRANSFORMER) if is_followed(self.find_sites(inputs, images)) else method

    def find_sites(
        self, inputs: tuple[tuple[Any, ...], dict[str, Any]], images: tuple[InputImage, ...]
    ) -> tuple[AttentionSite, ...]:
        """Find the attention of the undisturbed model, the first time in forwards of it."""
        if images not in self.known_sites:
            self.known_sites[images] = attention_sites(self.root, inputs, images, self.score)
        return self.known_sites[images]

    def remember_method(self, made: MethodMaps) -> None:
        """Remember the method that :class:`Automatic` chose, so that it looks at values only once."""
        if made.method and self.method is None and self.by_kind is None:
            self.method = ensure_method(made.method)

    def find_target_layers(self, args: Any, kwargs: dict[str, Any]) -> dict[str, nn.Module]:
        """Return the target layers; the first time they are searched in a forward of the undisturbed model."""
        return self.layers or find_layers(self.root, find_layer(self.root, args, kwargs, self.score))

    def plan(self, method: Method, args: Any, kwargs: dict[str, Any], images: tuple[InputImage, ...]) -> Plan:
        """Find out what a method needs to have recorded; the first time in forwards of the undisturbed model.

        Raises:
            InputError: the model has none of the attention that the method needs; or as :func:`find_layer`.
            GradientError: as :func:`find_layer`.
        """
        needs = method.needs
        if needs.layers:
            self.layers = self.find_target_layers(args, kwargs)
        if needs.attention is None:
            plan = Plan(dict(self.layers or {}) if needs.layers else {})
        else:
            plan = self.plan_attention(method, self.find_sites((args, kwargs), images))
        return plan if needs.named is None else self._plan_named(plan, needs, needs.named)

    def _plan_named(self, plan: Plan, needs: Needs, name: NameModules) -> Plan:
        """Add the modules that a method names itself."""
        wanted = name(self.root, tuple(self.layers) if self.named and self.layers else None)
        is_scored = self.score is not None or ask_default_score(self.root) is not None  # else the graph tells the score
        return replace(
            plan,
            blocks=plan.blocks | (find_layers(self.root, list(wanted.layers)) if wanted.layers else {}),
            attention=plan.attention | (find_layers(self.root, list(wanted.attention)) if wanted.attention else {}),
            gradient=needs.gradient or self.words is not None or not is_scored,
        )

    def plan_attention(self, method: Method, sites: tuple[AttentionSite, ...]) -> Plan:
        """Find out what a method needs to have recorded, in a model whose attention is known.

        Raises:
            InputError: the caller named layers, or the model has none of the attention that the method needs.
        """
        if method.needs.attention is None:
            raise TypeError(f"method {method.name!r} needs no attention")
        if self.named and not method.needs.layers:
            raise InputError(
                f"target_layers: method {method.name!r} takes the model's blocks by itself: leave target_layers out"
            )
        wanted = method.needs.attention(sites)
        blocks = list(dict.fromkeys(site.block for site in wanted))
        placed = [site.tokens_of for site in wanted if site.tokens_of is not None]
        # What mixes image and text, or reads the image's tokens anew, follows the tower and must be computed again.
        changed = find_mixing_blocks(sites)
        replayed = [site.block for site in sites if site.is_self and site.block not in changed]
        of_pixels = [
            name
            for name, module in plain_modules(self.root).items()
            if isinstance(module, nn.Conv2d) and module.in_channels in {1, 3}
        ]
        layers = dict(self.layers or {}) if method.needs.layers else {}
        return Plan(
            layers,
            find_modules(self.root, placed),
            find_modules(self.root, blocks),
            find_modules(self.root, [*of_pixels, *replayed]) if method.needs.replay else {},
            sites,
        )

    def record(self, plan: Plan, parents: ParentOf) -> Capture:
        """Prepare to record what a method needs in a call."""
        return Capture(
            self.root, plan.layers | plan.blocks, force_grad=plan.gradient, packed=self.packed, parents=parents,
            attention=plan.attention, replayed=plan.replayed,
        )  # fmt: skip

    def record_words(self, args: Any, kwargs: dict[str, Any]) -> AbstractContextManager[WordCapture | None]:
        """Prepare to record the embeddings of words in a call, if words are wanted."""
        if self.words is None:
            return contextlib.nullcontext()
        return WordCapture(self.root, (args, kwargs), self.words_layer, gradient=self.words.needs_gradient)

    def find_layouts(self, seen: Capture) -> dict[str, list[AnyLayout]]:
        """Find the layout of every record."""
        return find_layouts(seen, self.layout, self.root, self.known_layouts)

    def explain(
        self,
        method: Method,
        run: Run,
        call: ExplainedCall,
        size: tuple[int, int] | None,
        word_capture: WordCapture | None,
    ) -> Explanation:
        """Check a forward, have the method make its maps, and make the result of them.

        Args:
            method: How maps are made.
            run: The forward; ``also`` holds the embeddings of ``word_capture``.
            call: The same forward, to be repeated with other texts.
            size: (H, W) of the model's input, if it is known.
            word_capture: The embeddings of words, if words are wanted.
        """
        words = None
        with mention_guess(call.scorer):
            if method.needs.layers:
                run.gradients()
            check_finite(run.score.detach())  # only now, because looking at a value makes a GPU wait
            made = method.maps(run)
            self.remember_method(made)
            if word_capture is not None and self.words is not None:
                (words,) = measure_words(self.words, word_capture, call, [run.gradients_of_also()])
        return assemble(
            made, run.score.detach().float(), call.scorer.name, made.method or method.name,
            (self.fuse_name, self.fuse), size=size, model=type(self.root).__name__, words=words, stacklevel=5,
        )  # fmt: skip
