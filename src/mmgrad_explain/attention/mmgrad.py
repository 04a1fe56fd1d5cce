"""MultiModalGradAttention: maps of where a model looks in an image because of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.choices import name_of
from mmgrad_explain.attention.calls.many_texts import EncodedTexts, encode_texts, explain_texts
from mmgrad_explain.attention.calls.one_call import explain_call
from mmgrad_explain.attention.calls.training_step import attend_step
from mmgrad_explain.attention.layouts.layout import LayoutLike, ensure_layout
from mmgrad_explain.attention.methods.named import choose_argument, ensure_method
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.model_hints import ask_calibration, ask_default_score, ask_target_layer
from mmgrad_explain.attention.places.record_layouts import batches_of
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.running.modules import find_layers, refuse_first_static_step, refuse_sharded, unwrap
from mmgrad_explain.attention.running.second_derivative import refuse_constant
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.attention.settings import MapSettings
from mmgrad_explain.attention.word_values.request import ensure_words
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.explanation.fusion import Fuse, ensure_fuse, fuse_maps

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from mmgrad_explain.attention.methods.base import Method, MethodMaps
    from mmgrad_explain.attention.scores.base import Score
    from mmgrad_explain.attention.weighting import Weighting
    from mmgrad_explain.explanation.result import Explanation


class MultiModalGradAttention:
    """Gradient attention maps of any model, conditioned on all of its inputs.

    The score, one number a sample computed from the model's output, depends on image and text. Its gradient at a layer
    with a spatial grid shows which places the score depends on. Source: Udhayanan et al., Learning with Multi-modal
    Gradient Attention for Explainable Composed Image Retrieval, arXiv 2308.16649; Grad-CAM, arXiv 1610.02391.

    It has two uses. To explain, ``explanation = mmgrad(*args, **kwargs)`` runs the model itself and restores it
    exactly. To train, ``with mmgrad.capture() as seen:`` around your own forward records your own graph, and
    :meth:`attend` makes maps that a loss can be computed from.

    Attributes:
        model: The model, as it was passed.
        settings: How its maps are made, and what was found out about it.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: nn.Module | str | Sequence[nn.Module | str] | None = None,
        score: str | Callable[[Any], Any] | None = None,
        method: str | Method | Weighting | None = None,
        layout: LayoutLike | None = None,
        *,
        weighting: str | Weighting | None = None,
        fuse: str | Fuse = "mean",
        words: Any = False,
        tokenizer: Any = None,
        words_layer: nn.Module | str | None = None,
    ) -> None:
        """Check the arguments; the model is not touched.

        Args:
            model: Any module; compiled, or wrapped for distributed training, too.
            target_layers: Module, dotted name, or a list of them. None takes the model's own ``target_layer`` (a name),
                or else finds the last layer with a grid that every path to the score passes, before text is mixed in
                if that is known; see :func:`candidate_layers`. ``"fpn[2]"`` names one grid of several that a layer
                returns.
            score: A name from ``SCORES``, or a callable that takes the model's output and returns (B,). None takes the
                model's own ``default_score``, or else what the output suggests: the output itself if it is one number a
                sample, the cosine of image and text of two towers, the diagonal of a square ``logits_per_image``.
            method: A name from ``METHODS``, a :class:`Method`, or a callable that takes activation and gradient, both
                (B, K, h, w), and returns (B, h, w). None takes the model's own ``calibration`` (with its
                layers, where none is named), or its ``default_method``, or else the method for models of its kind: by
                the gradient at the layer ``"gradcam"`` or ``"layercam"``, and for a pyramid of convolutions whose
                layer is to be found the maps of its last three grids, fused. The first call chooses.
            layout: ``"nchw"``, ``"nhwc"``, ``"tokens"``, a :class:`Layout`, :class:`Cells`, or a callable that takes
                the layer's output and returns (B, K, h, w). None asks the model's own ``layout_for(layer, *args,
                **kwargs)``, or else infers the layout.
            weighting: A weighting, the simplest kind of method: a name from ``WEIGHTINGS`` or a callable. Give this or
                ``method``.
            fuse: How the maps of several layers are fused: a name from ``FUSES``, or a callable that takes (L, B, h,
                w).
            words: Whether to measure what each word contributes (``Explanation.words``): ``"leave-one-out"`` (what the
                score loses without the word), ``"gradient"`` (gradient x input at its embedding), or True: the first
                for texts of up to 32 words, and the second, with a note, for others and where a word cannot be left
                out. A tokenizer or a callable that names the words may be passed in place of True
                (:func:`~mmgrad_explain.attention.word_values.request.ensure_words`).
            tokenizer: Names the words, where ``words`` does not; None names tokens by their ids.
            words_layer: The embedding of the words, if it is not the largest one that is called with them.

        Raises:
            TypeError: an argument is of the wrong type.
            InputError: a name is unknown, a layer is not in the model, or the model is an ``nn.DataParallel``.
        """
        self.model = model
        root = unwrap(model)
        score = None if score is None else ensure_score(score)
        chosen, is_named = choose_argument(method, weighting), target_layers is not None
        calibrated = ask_calibration(root) if target_layers is None and chosen is None else None
        if calibrated is not None and _name_score(root, score) in {None, calibrated.score}:
            target_layers, chosen = calibrated.layers, calibrated.method
        else:
            target_layers = ask_target_layer(root) if target_layers is None else target_layers
        layout = ensure_layout(layout)
        fuse_name, fuse = fuse if isinstance(fuse, str) else name_of(fuse), ensure_fuse(fuse)
        self.settings = MapSettings(
            root=root,
            score=score,
            method=None if chosen is None else ensure_method(chosen),
            layout=layout,
            fuse_name=fuse_name,
            fuse=fuse,
            layers=None if target_layers is None else find_layers(root, target_layers),
            words=ensure_words(words, tokenizer),
            words_layer=None if words_layer is None else find_layers(root, words_layer),
            named=is_named,
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The dotted names of the target layers; empty as long as they have not been found."""
        return tuple(self.settings.layers or ())

    def __repr__(self) -> str:
        layers = ", ".join(self.layer_names) or "to be found"
        settings = self.settings
        score = settings.score.name if settings.score else "default"
        method = settings.method.name if settings.method else "default"
        return f"{type(self).__name__}({type(settings.root).__name__}, {layers}; {score}, {method})"

    def __call__(self, *args: Any, **kwargs: Any) -> Explanation:
        """Run the model on these arguments and explain its score.

        The model is called once (more often the first time, to find the layer and the kind of the model). Its training
        flags, ``requires_grad``, ``.grad``, buffers and hooks, and the random number generators, are afterwards as they
        were.
        The grad mode of the caller does not matter. One call at a time runs in a process.

        Args:
            *args: The model's arguments.
            **kwargs: The model's keyword arguments.

        Returns:
            The maps, on the model's device.

        Raises:
            InputError: the score is not one number a sample, or the layer or its layout has to be named.
            CaptureError: a target layer never ran, or returned nothing that a map could be made of.
            GradientError: the gradient does not reach the layer, or is not finite.
        """
        return explain_call(self.settings, args, kwargs)

    def texts(
        self,
        image: Any,
        texts: Any,
        *,
        encode: Callable[..., Any] | None = None,
        compose: Callable[..., Any] | None = None,
    ) -> Explanation:
        """Explain one image for many texts; the image is encoded once.

        The result equals that of a call for each text, in one batch. The model is afterwards as it was, as after a
        call. Methods that look at attention or run the model again need whole calls: the image is repeated for each
        text, and encoded strings are encoded again. Of a transformer, only the blocks before the first that the method
        looks at are then computed once for all texts; what it looks at is needed for each text by itself. With stages
        of your own or encoded ids, and no method named, maps are made of the target layers.

        Args:
            image: What ``encode`` takes, a batch of 1; for a composer an image, in any form ``open_image`` takes.
            texts: What ``compose`` takes beside the features (a tensor, a tuple or a mapping of them), T in a batch;
                for a composer a list of strings; or either from :meth:`encode_texts`.
            encode: Takes the image and returns its features, batch first: all that ``compose`` needs. None takes the
                model's own ``encode_image``.
            compose: Takes features and texts, T of each, and returns what the score is computed from. None takes the
                model's own ``compose``, with the result of its ``encode_text``.

        Returns:
            The maps, one a text.

        Raises:
            InputError: the model has no such stages or is sharded, no layer is known yet, or the inputs are not one
                image and a batch of texts.
            CaptureError: as a call.
            GradientError: as a call.
        """
        return explain_texts(self.settings, image, texts, encode, compose)

    def encode_texts(self, texts: Any) -> EncodedTexts:
        """Encode texts in advance, to pass them to :meth:`texts` with one image after the other.

        Args:
            texts: As for :meth:`texts`. Encoded strings go with images that are opened, encoded tensors with tensors.

        Raises:
            InputError: the model has no ``encode_text``, or there are no texts.
        """
        return encode_texts(self.settings.root, texts)

    def capture(self, *, math_attention: bool = True) -> AbstractContextManager[Capture]:
        """Record the target layers of your own forward, in your own graph.

        The training flags of the model and the gradient mode stay as you have set them. The layers' outputs are cloned,
        and compiled code runs eagerly inside the block. Where no method is named, maps are made of the target layers,
        also of models whose calls are explained by their attention.

        Args:
            math_attention: Compute scaled-dot-product attention by plain matrix products inside the block. The fused
                kernels have no second derivative, which ``create_graph=True`` needs.

        Returns:
            A context manager for one block; it yields the :class:`~.capture.Capture` for :meth:`attend`.

        Raises:
            InputError: no target layer is known yet (name one, or call ``mmgrad(...)`` once to have it found), or the
                model is sharded, or it is wrapped with ``static_graph=True`` and has not been trained yet.
        """
        settings = self.settings
        refuse_sharded(settings.root, "capture")
        refuse_first_static_step(self.model)
        method = settings.choose_layer_method()
        if method.needs.layers and settings.layers is None:
            raise InputError(
                "target_layers: none was named, and capture() cannot look for one: name it, or call mmgrad(...) once, "
                "which finds and remembers it"
            )
        if method.needs.attention is None:
            return Capture(settings.root, settings.layers or {}, math_attention=math_attention, packed=settings.packed)
        if not settings.known_sites:
            raise InputError(
                f"method {method.name!r}: the attention of the model is not known yet, and capture() cannot look for "
                "it: call mmgrad(...) once, which finds and remembers it"
            )
        plan = settings.plan_attention(method, next(reversed(settings.known_sites.values())))
        return Capture(
            settings.root, plan.layers | plan.blocks, math_attention=math_attention, packed=settings.packed,
            attention=plan.attention, replayed=plan.replayed,
        )  # fmt: skip

    def attend(
        self,
        score: Tensor,
        seen: Capture,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        call: int = 0,
        method: Any = None,
        weighting: str | Weighting | Sequence[str | Weighting] | None = None,
        relu: bool = True,
    ) -> Tensor:
        """Make maps of a recorded forward.

        Args:
            score: (B,), computed from the output of that forward.
            seen: The records of :meth:`capture`.
            create_graph: Keep the maps differentiable, for a loss.
            retain_graph: Keep the graph of the forward, for your own ``loss.backward()``. None keeps it.
            call: Which call of the layer, in the order of your forward, if there are several (reference 0, target 1).
            method: A method instead of the constructor's, of what that one had recorded; several in a list share one
                gradient.
            weighting: A weighting, or several, likewise; give this or ``method``.
            relu: Cut off negative values.

        Returns:
            (B, h, w) float32 (float64 for float64 activations), fused for several layers; (W, B, h, w) for a list of W
            methods.

        Raises:
            TypeError: ``score`` is not a floating tensor, or ``seen`` is not a Capture.
            InputError: the score is not one number a sample, or there is no such call.
            CaptureError: nothing was recorded.
            GradientError: the score does not depend on the layer or that call, or cannot be differentiated.
        """
        wanted = choose_argument(method, weighting)
        several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
        methods: list[Any] = list(wanted) if several else [wanted]
        if not methods:
            raise InputError("method: the list is empty; name at least one")
        made = self._make_maps(score, seen, create_graph, retain_graph, methods)
        maps = [fuse_maps(self._choose_call(calls, call, relu=relu), self.settings.fuse) for calls in made]
        if create_graph:
            refuse_constant(maps, "fuse=")
        return torch.stack(maps) if several else maps[0]

    @staticmethod
    def _choose_call(made: MethodMaps, call: int, *, relu: bool) -> list[Tensor]:
        """Return the maps of one call, one a layer."""
        chosen = []
        for name, calls in made.signed.items():
            if not isinstance(call, int) or not 0 <= call < len(calls):
                raise InputError(
                    f"call: layer {name!r} ran {len(calls)} time(s): call must be 0 to {len(calls) - 1}, not {call!r}"
                )
            reached = made.reached.get(name)
            if reached is not None and not reached[call]:
                others = [index for index, hit in enumerate(reached) if hit]
                raise GradientError(
                    f"the score does not depend on call {call} of layer {name!r}; it depends on {others} (call=...)"
                )
            chosen.append(calls[call].relu() if relu else calls[call])
        return chosen

    def attend_all(
        self,
        score: Tensor,
        seen: Capture,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        method: str | Method | Weighting | None = None,
        weighting: str | Weighting | None = None,
        relu: bool = True,
    ) -> dict[str, list[Tensor]]:
        """Make the maps of every layer and call, each on its own grid.

        Arguments and errors are those of :meth:`attend`.

        Returns:
            Layer name to one (B, h, w) a call; zeros for a call that the score does not depend on.
        """
        (made,) = self._make_maps(score, seen, create_graph, retain_graph, [choose_argument(method, weighting)])
        return {name: [grid.relu() if relu else grid for grid in calls] for name, calls in made.signed.items()}

    def _make_maps(
        self,
        score: Tensor,
        seen: Capture,
        create_graph: bool,  # noqa: FBT001  (passed on)
        retain_graph: bool | None,  # noqa: FBT001
        wanted: Sequence[Any],
    ) -> list[MethodMaps]:
        if not isinstance(seen, Capture):
            raise TypeError(f"seen must be what capture() gave, not {type(seen).__name__}")
        settings = self.settings
        if seen.root is not settings.root:
            raise InputError("seen was recorded for another model: use the capture() of the same MMGrad")
        methods = [settings.choose_layer_method() if one is None else ensure_method(one) for one in wanted]
        seen.choose_parts(score)
        layouts = settings.find_layouts(seen)
        score = ensure_per_sample(score, batches_of(seen, layouts) or None)
        run = Run(
            settings.root, seen, score, layouts,
            scorer=settings.score or settings.scorer, inputs=seen.arguments,
            targets=[name for name in settings.layers or () if name in seen.records] or None,
            sites=next(reversed(settings.known_sites.values()), ()),
            create_graph=create_graph, retain_graph=True if retain_graph is None else retain_graph,
        )  # fmt: skip
        made = attend_step(run, methods, settings.verified)
        settings.remember_method(made[0])
        return made


MMGrad = MultiModalGradAttention


def _name_score(root: nn.Module, score: Score | None) -> str | None:
    """Return the name of the score that is asked for, or of the model's own; None where its output suggests one."""
    own = ask_default_score(root) if score is None else score
    return None if own is None else ensure_score(own).name
