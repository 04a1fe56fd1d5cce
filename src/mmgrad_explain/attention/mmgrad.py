"""MultiModalGradAttention: where a model looks in an image because of a text."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgrad_explain._system.choices import name_of
from mmgrad_explain.attention.assembly import assemble, weigh_all
from mmgrad_explain.attention.attributes import layout_method, own_layer
from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.gradient import (
    Known,
    batches_of,
    check_grids_reached,
    layouts_of,
    take_gradients,
)
from mmgrad_explain.attention.input_images import Whose, lies_on, say_whose
from mmgrad_explain.attention.layers.candidates import find_layer, resolve_score
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, LayoutLike, ensure_layout
from mmgrad_explain.attention.many_texts import EncodedTexts, Once, as_call, ask, encode_texts, spread, stages_of
from mmgrad_explain.attention.modules import Family, find_layers, refuse_first_static_step, refuse_sharded, unwrap
from mmgrad_explain.attention.scores.embedding import Score, check_finite, check_score, ensure_score
from mmgrad_explain.attention.scores.guess import naming_the_guess
from mmgrad_explain.attention.second_derivative import refuse_constant
from mmgrad_explain.attention.structures import image_size
from mmgrad_explain.attention.training_step import Verified, take_step_gradients, weigh_step
from mmgrad_explain.attention.undisturbed import own_inputs, undisturbed
from mmgrad_explain.attention.weighting import Weighting, ensure_weighting
from mmgrad_explain.attention.words import WordCapture, ensure_words, name_words
from mmgrad_explain.errors import GradientError, InputError
from mmgrad_explain.explanation.fusion import Fuse, ensure_fuse, fuse_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mmgrad_explain.explanation.result import Explanation


class MultiModalGradAttention:
    """Gradient attention maps of any model, conditioned on all of its inputs.

    The score, one number a sample made of the model's output, depends on image and text; its gradient at a layer with a
    spatial grid says which places the score hangs on. Source: Udhayanan et al., Learning with Multi-modal Gradient
    Attention for Explainable Composed Image Retrieval, arXiv 2308.16649; Grad-CAM, arXiv 1610.02391.

    Two faces. For looking, ``explanation = mmgrad(*anything, **the_model_takes)`` runs the model itself and leaves it
    exactly as it was. For training, ``with mmgrad.capture() as seen:`` around your own forward records your own graph,
    and :meth:`attend` gives maps that a loss can be made of.

    Attributes:
        model: The model, as it was handed in.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: nn.Module | str | Sequence[nn.Module | str] | None = None,
        score: str | Callable[[Any], Any] | None = None,
        weighting: str | Weighting = "gradcam",
        layout: LayoutLike | None = None,
        *,
        fuse: str | Fuse = "mean",
        words: Any = False,
        words_layer: nn.Module | str | None = None,
    ) -> None:
        """Remember what to do; the model is not touched.

        Args:
            model: Any module; compiled, or wrapped for distributed training, too.
            target_layers: Module, dotted name, or a list of them. None takes the model's own ``target_layer`` (a name),
                or else finds the last layer with a grid that all of the score passes, before text is mixed in where
                that can be told; see :func:`candidate_layers`. A part of an output of several grids is ``"fpn[2]"``.
            score: A name (``"shift"``, ``"similarity"``, ``"pair"``, ``"pair-different"``, ``"image-text"``,
                ``"match"``, ``"answer"``) or a callable of the model's output that gives (B,). None takes the model's
                own ``default_score``, or else what the output suggests: itself where it is one number a sample, the
                cosine of picture and text of two towers, the diagonal of a square ``logits_per_image``.
            weighting: ``"gradcam"``, ``"gradcam++"``, ``"xgradcam"``, ``"layercam"``, ``"hirescam"``, or a callable of
                activation and gradient (B, K, h, w) that gives (B, h, w).
            layout: ``"nchw"``, ``"nhwc"``, ``"tokens"``, a :class:`Layout`, :class:`Cells`, or a callable that makes
                (B, K, h, w) of the layer's output. None asks the model's own ``layout_for(layer, *args, **kwargs)``,
                where it has one and that gives one, or else has it found.
            fuse: How several layers make one map: ``"mean"``, ``"max"``, ``"product"``, or a callable of (L, B, h, w).
            words: Whether to say what each word contributes (``Explanation.words``), from the same backward pass: True
                (tokens by their ids), the model's tokenizer, or a callable; see :mod:`~mmgrad_explain.attention.words`.
            words_layer: The embedding that looks the words up, where it is not the largest one called with them.

        Raises:
            TypeError: an argument is of the wrong type.
            InputError: an unknown name, a layer that is not in the model, or an ``nn.DataParallel``.
        """
        self.model = model
        self._root = unwrap(model)
        self._score = None if score is None else ensure_score(score)
        self._weighting_name, self._weighting = ensure_weighting(weighting)
        self._layout = ensure_layout(layout)
        self._fuse = ensure_fuse(fuse)
        self._fuse_name = fuse if isinstance(fuse, str) else name_of(fuse)
        wanted = own_layer(self._root) if target_layers is None else target_layers
        self._layers = None if wanted is None else find_layers(self._root, wanted)
        self._name_words = ensure_words(words)
        self._words_layer = None if words_layer is None else find_layers(self._root, words_layer)
        self._verified: Verified = set()
        self._known_layouts: Known = {}
        self._whose = Whose(self._root, split=self._layout is None or isinstance(self._layout, Layout))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The dotted names of the target layers; empty as long as they have still to be found."""
        return tuple(self._layers or ())

    def __repr__(self) -> str:
        layers = ", ".join(self.layer_names) or "to be found"
        score = self._score.name if self._score else "default"
        return f"{type(self).__name__}({type(self._root).__name__}, {layers}; {score}, {self._weighting_name})"

    def __call__(self, *args: Any, **kwargs: Any) -> Explanation:
        """Run the model on these arguments and explain its score.

        The model is called once (five times the first time, if the layer has to be found). Its training flags,
        ``requires_grad``, ``.grad``, buffers and hooks, and the random number generators, are afterwards as they were.
        Works in any grad mode of the caller's. One call at a time runs in a process.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes by name.

        Returns:
            The maps, on the model's device.

        Raises:
            InputError: the score is not one number a sample, or the layer or its layout cannot be told.
            CaptureError: a target layer never ran or gave nothing usable.
            GradientError: the gradient does not reach the layer, or is not finite.
        """
        with undisturbed(self._root, (args, kwargs)) as inside:
            args, kwargs = own_inputs((args, kwargs))
            if self._layers is None:
                self._layers = find_layers(self._root, find_layer(self._root, args, kwargs, self._score))
            (args, kwargs), pictures = self._whose.follow(given := (args, kwargs))
            with self._record(self._layers, inside) as seen, self._listen(args, kwargs) as heard:
                try:
                    output = self._root(*args, **kwargs)
                except RuntimeError as error:
                    if "Inference tensors cannot be saved for backward" not in str(error):
                        raise
                    raise GradientError(
                        "a part of the model runs inside a torch.inference_mode() block of its own, which cannot be "
                        "undone from outside: use torch.no_grad() there"
                    ) from error
                seen.stop()
                scorer = resolve_score(self._root, self._score, output, seen.activations)
                with naming_the_guess(scorer):
                    score = scorer(output)
                    seen.choose_parts(score)
                    self._whose.arrange(seen, given, pictures)
                    layouts = layouts_of(seen, self._layout, self._root, self._known_layouts)
                    score = check_score(score, batches_of(seen, layouts))
                    gradients, of_words = take_gradients(score, seen, also=heard.embeddings if heard else ())
            size = pictures[0].size if pictures else image_size(given)
            found = self._explain(seen, gradients, layouts, score, scorer, size, heard, of_words)
            return say_whose(found, seen, pictures)

    def texts(
        self,
        image: Any,
        texts: Any,
        *,
        encode: Callable[..., Any] | None = None,
        compose: Callable[..., Any] | None = None,
    ) -> Explanation:
        """Explain one picture for many texts; the picture is encoded once.

        The result is that of a call for each text, in one batch. The model is left as it was, as by a call.

        Args:
            image: What ``encode`` takes, a batch of 1; for a composer a picture, in any form ``open_image`` takes.
            texts: What ``compose`` takes beside the features (a tensor, a tuple or a mapping of them), T in a batch;
                for a composer a list of strings; or either from :meth:`encode_texts`.
            encode: Picture to features, batch first: all that ``compose`` needs of it. None takes the model's own
                ``encode_image``.
            compose: Features and texts, T of each, to what the score is computed of. None takes the model's own
                ``compose`` of features and of what its ``encode_text`` gives.

        Returns:
            The maps, one a text.

        Raises:
            InputError: the model has no such stages or is sharded, no layer is known yet, or the inputs are not one
                picture and a batch of texts.
            CaptureError: as a call.
            GradientError: as a call.
        """
        refuse_sharded(self._root, "texts")
        stages = stages_of(self._root, encode, compose)
        if self._layers is None:
            raise InputError("texts: no target layer is known; name one, or call mmgrad(...) once to have it found")
        question = ask(self._root, image, texts, encoded=encode is None and self._name_words is None)
        with undisturbed(self._root, (question.image, question.texts)) as inside:
            question = replace(question, image=own_inputs(question.image), texts=own_inputs(question.texts))
            args, kwargs = as_call(question.texts)
            size = image_size(question.image)
            with self._record(self._layers, inside) as seen, self._listen(args, kwargs) as heard:
                seen.working_on(size)
                pixels, named = as_call(question.image)
                seen.arguments = (*pixels, *args), {**named, **kwargs}
                once = Once(stages[0], question, seen)
                output = spread(stages[1], question.texts, once.rows)
                seen.stop()
                scorer = resolve_score(self._root, self._score, output)
                with naming_the_guess(scorer):
                    score = check_score(scorer(output), [question.count])
                    seen.choose_parts(score, *once.features)
                    gradients, of_words = once.gradients(score, seen, heard.embeddings if heard else ())
                layouts = layouts_of(seen, self._layout, self._root, self._known_layouts)
            found = self._explain(seen, gradients, layouts, score, scorer, size, heard, of_words)
            return replace(found, **question.known, notes=(*found.notes, *question.notices))

    def encode_texts(self, texts: Any) -> EncodedTexts:
        """Encode texts in advance, to hand to :meth:`texts` with one picture after the other.

        Args:
            texts: As for :meth:`texts`. What was made of strings goes with pictures, what was made of tensors with
                tensors.

        Raises:
            InputError: the model has no ``encode_text``, or no texts are there.
        """
        return encode_texts(self._root, texts)

    def capture(self, *, math_attention: bool = True) -> AbstractContextManager[Capture]:
        """Record the target layers of your own forward, in your own graph.

        Nothing is switched: the model trains or evaluates as you have it, and the gradient mode is yours. The layers'
        outputs are cloned, compiled code runs eagerly inside the block.

        Args:
            math_attention: Have scaled-dot-product attention computed by plain matrix products inside the block. The
                fused kernels have no second derivative, which ``create_graph=True`` needs.

        Returns:
            A context manager for one block; it gives the :class:`~.capture.Capture` to hand to :meth:`attend`.

        Raises:
            InputError: no target layer is known yet: name one, or call ``mmgrad(...)`` once to have it found. Or the
                model is sharded, or wrapped with ``static_graph=True`` and has not been trained yet.
        """
        refuse_sharded(self._root, "capture")
        refuse_first_static_step(self.model)
        if self._layers is None:
            raise InputError(
                "target_layers: none was named, and capture() cannot look for one: name it, or call mmgrad(...) once, "
                "which finds and remembers it"
            )
        return Capture(self._root, self._layers, math_attention=math_attention, packed=self._packed)

    def attend(
        self,
        score: Tensor,
        seen: Capture,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        call: int = 0,
        weighting: str | Weighting | Sequence[str | Weighting] | None = None,
        relu: bool = True,
    ) -> Tensor:
        """Make maps of a recorded forward.

        Args:
            score: (B,), computed from that forward; or what your own function made of it.
            seen: What :meth:`capture` recorded.
            create_graph: Keep the maps differentiable, for a loss.
            retain_graph: Keep the forward's graph, for your own ``loss.backward()``. None keeps it.
            call: Which call of the layer, in your forward's order, where there are several (reference 0, target 1).
            weighting: Another than the constructor's; a list of them shares one gradient.
            relu: Cut off negative values.

        Returns:
            (B, h, w) float32 (float64 for float64 activations), of several layers fused; (W, B, h, w) for a list of W
            weightings.

        Raises:
            TypeError: ``score`` is no floating tensor, or ``seen`` no Capture.
            InputError: the score is not one number a sample, or there is no such call.
            CaptureError: nothing was recorded.
            GradientError: the score does not depend on the layer or that call, or cannot be differentiated.
        """
        several = weighting is not None and not isinstance(weighting, str) and not callable(weighting)
        weightings: list[Any] = list(weighting) if several else [weighting]  # type: ignore[arg-type]
        if not weightings:
            raise InputError("weighting: the list is empty; name at least one")
        every, reached = self._signed(score, seen, create_graph, retain_graph, weightings)
        for name, hits in reached.items():
            if not isinstance(call, int) or not 0 <= call < len(hits):
                raise InputError(
                    f"call: layer {name!r} ran {len(hits)} time(s): call must be 0 to {len(hits) - 1}, not {call!r}"
                )
            if not hits[call]:
                others = [index for index, hit in enumerate(hits) if hit]
                raise GradientError(
                    f"the score does not depend on call {call} of layer {name!r}; it depends on {others} (call=...)"
                )
        maps = [
            fuse_maps([calls[call].relu() if relu else calls[call] for calls in signed.values()], self._fuse)
            for signed in every
        ]
        if create_graph:
            refuse_constant(maps, "fuse=")
        return torch.stack(maps) if several else maps[0]

    def attend_all(
        self,
        score: Tensor,
        seen: Capture,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        weighting: str | Weighting | None = None,
        relu: bool = True,
    ) -> dict[str, list[Tensor]]:
        """Make the maps of every layer and call, each on its own grid.

        Args and raises as :meth:`attend`.

        Returns:
            Layer name to one (B, h, w) a call; zeros for a call that the score does not depend on.
        """
        (signed,), _ = self._signed(score, seen, create_graph, retain_graph, [weighting])
        return {name: [one.relu() if relu else one for one in calls] for name, calls in signed.items()}

    def _signed(
        self,
        score: Tensor,
        seen: Capture,
        create_graph: bool,  # noqa: FBT001  (handed on)
        retain_graph: bool | None,  # noqa: FBT001
        weightings: Sequence[str | Weighting | None],
    ) -> tuple[list[dict[str, list[Tensor]]], dict[str, list[bool]]]:
        if not isinstance(seen, Capture):
            raise TypeError(f"seen must be what capture() gave, not {type(seen).__name__}")
        if seen.root is not self._root:
            raise InputError("seen was recorded for another model: use the capture() of the same MMGrad")
        chosen = [self._weighting if one is None else ensure_weighting(one)[1] for one in weightings]
        seen.choose_parts(score)
        layouts = layouts_of(seen, self._layout, self._root, self._known_layouts)
        score = check_score(score, batches_of(seen, layouts))
        keep = True if retain_graph is None else retain_graph
        gradients = take_step_gradients(
            score, seen, layouts, self._verified, create_graph=create_graph, retain_graph=keep
        )
        signed = weigh_step(seen, gradients, layouts, chosen, graph=create_graph)
        reached = {name: [gradient is not None for gradient in calls] for name, calls in gradients.items()}
        return signed, reached

    @property
    def _packed(self) -> bool:
        given = self._layout is not None and not isinstance(self._layout, Layout)
        return given or layout_method(self._root) is not None

    def _record(self, layers: dict[str, nn.Module], inside: Family) -> Capture:
        return Capture(self._root, layers, force_grad=True, packed=self._packed, inside=inside)

    def _listen(self, args: Any, kwargs: dict[str, Any]) -> AbstractContextManager[WordCapture | None]:
        if self._name_words is None:
            return contextlib.nullcontext()
        return WordCapture(self._root, (args, kwargs), self._words_layer)

    def _explain(
        self,
        seen: Capture,
        gradients: dict[str, list[Tensor | None]],
        layouts: dict[str, list[AnyLayout]],
        score: Tensor,
        scorer: Score,
        size: tuple[int, int] | None,
        heard: WordCapture | None,
        of_words: Sequence[Tensor | None],
    ) -> Explanation:
        words = None
        with naming_the_guess(scorer):
            check_finite(score.detach())  # not before: looking at a value has a GPU stop
            check_grids_reached(gradients, layouts, self._root)
            if heard is not None and self._name_words is not None:
                words = name_words(heard.values(of_words, len(score)), self._name_words(*heard.tokens()))
        signed = weigh_all(seen, gradients, layouts, self._weighting, graph=False)
        return assemble(
            signed, score.detach().float(), scorer.name, self._weighting_name, (self._fuse_name, self._fuse), layouts,
            size=size, model=type(self._root).__name__, words=words, lies_on=lies_on(seen),
        )  # fmt: skip


MMGrad = MultiModalGradAttention
