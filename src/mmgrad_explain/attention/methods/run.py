"""One recorded forward whose score is to be explained: what a method makes its maps of."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.gradient import check_grids_reached, differentiate, take_gradients
from mmgrad_explain.attention.places.image_owners import images_of_records
from mmgrad_explain.attention.reruns.image_scores import take_rows
from mmgrad_explain.attention.running.forward_modes import math_attention, run_eagerly
from mmgrad_explain.attention.running.modules import replaced_forwards
from mmgrad_explain.attention.running.structures import map_tensors, tensors_in
from mmgrad_explain.attention.running.undisturbed import evaluating, same_randomness
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall
    from mmgrad_explain.attention.recording.capture import Capture
    from mmgrad_explain.attention.running.input_images import InputImage


@dataclass
class Run:
    """One forward of a model, with the score of its output.

    Attributes:
        root: The model, unwrapped and, unless in training, undisturbed.
        seen: The records of the forward: target layers or blocks, and attention.
        score: (B,), in the graph of the forward.
        layouts: The layout of every record of ``seen``.
        scorer: Computes (B,) of an output of the model; None where the caller computed the score.
        inputs: (args, kwargs) of the forward; None where the model itself was not called.
        images: The images among the inputs.
        targets: Names of the target layers among the records; None for all.
        sites: All attention of the model; empty unless the method asks for attention.
        create_graph: Keep maps differentiable.
        retain_graph: Keep the graph of the forward after the gradient at the layers was taken.
        also: Other tensors of the graph that are differentiated in the same backward pass as the layers.
        taken: The gradients at the records and at ``also``, if they have been taken and checked already.
        output: What the model gave, or what was made of it to be scored; None where the caller computed the score.
        original: What the model itself gave, which ``scorer`` takes; None where it was not called.
    """

    root: nn.Module
    seen: Capture
    score: Tensor
    layouts: dict[str, list[AnyLayout]]
    scorer: Callable[[Any], Tensor] | None = None
    inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    images: tuple[InputImage, ...] = ()
    targets: Collection[str] | None = None
    sites: tuple[AttentionSite, ...] = ()
    create_graph: bool = False
    retain_graph: bool = False
    also: Sequence[Tensor] = ()
    taken: tuple[dict[str, list[Tensor | None]], list[Tensor | None]] | None = None
    output: Any = None
    original: Any = None
    _held: HeldConstants | None = field(default=None, init=False, repr=False)

    @property
    def attention(self) -> list[AttentionCall]:
        """The attention of the forward that the method selected, in the order in which it ran."""
        return self.seen.attention

    @property
    def image_of_calls(self) -> dict[str, list[int]] | None:
        """The index of the image of each record; None where there are not several images."""
        return images_of_records(self.seen)

    def gradients(self) -> dict[str, list[Tensor | None]]:
        """Return the score's gradient at every target layer, one a call; it is taken once.

        Raises:
            CaptureError: a layer has no record.
            GradientError: the gradient cannot be taken or does not reach the grid.
        """
        return self._take()[0]

    def gradients_of_also(self) -> list[Tensor | None]:
        """Return the score's gradient at each tensor of ``also``."""
        if not self.also:
            return []
        return self.gradients_of(self.also) if self.taken is None else self.taken[1]

    def _take(self) -> tuple[dict[str, list[Tensor | None]], list[Tensor | None]]:
        if self.taken is None:
            self.taken = take_gradients(
                self.score, self.seen, create_graph=self.create_graph, retain_graph=self.retain_graph, also=self.also,
                names=self.targets,
            )  # fmt: skip
            check_grids_reached(self.taken[0], self.layouts, self.root)
        return self.taken

    def gradients_of(self, tensors: Sequence[Tensor], score: Tensor | None = None) -> list[Tensor | None]:
        """Return the gradient of a score's sum at tensors of the graph; the graph is kept.

        Args:
            tensors: For example the probabilities of an attention.
            score: (B,); None takes the score that is explained.

        Returns:
            One gradient each, float32 (float64 stays); None for a tensor that the score does not depend on.
        """
        wanted = self.score if score is None else score
        return differentiate(wanted, tensors, create_graph=self.create_graph, retain_graph=True)

    def inputs_of_call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) of the forward.

        Raises:
            InputError: the model was not called itself, or the caller computed the score.
        """
        if self.scorer is None or self.inputs is None:
            raise InputError(
                "method: it runs the model again, which attend() cannot: call mmgrad(...) itself, or take a method of "
                "one forward, such as 'layercam'"
            )
        return self.inputs

    def scorer_of_call(self) -> Callable[[Any], Tensor]:
        """Return what computes the score of an output.

        Raises:
            InputError: as :meth:`inputs_of_call`.
        """
        self.inputs_of_call()
        return cast("Callable[[Any], Tensor]", self.scorer)

    def forward(self, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """Run the model on other inputs and return its output; random numbers are those of the explained forward."""
        args, kwargs = inputs
        with same_randomness(list(self.root.parameters()), inputs):
            return self.root(*args, **kwargs)

    def rerun(
        self, inputs: tuple[tuple[Any, ...], dict[str, Any]], index: Tensor | None = None, *, graph: bool = False
    ) -> Tensor:
        """Run the model on other inputs and return the scores (N,), float32.

        What the score holds constant (``detach()``) keeps the values of the explained forward, so that the scores can
        be compared with one another and with the explained one; see :mod:`~.scores.held_constants`.

        Args:
            inputs: (args, kwargs).
            index: (N,), the sample of the explained forward that each sample was made from; None for the same batch.
            graph: Keep a graph, for a gradient with respect to the inputs or to what a layer returns.

        Raises:
            InputError: the model was not called itself, or the caller computed the score.
        """
        self.inputs_of_call()
        with torch.set_grad_enabled(graph):
            return ensure_per_sample(self._holding()(self.forward(inputs), index)).float()

    def _holding(self) -> HeldConstants:
        """Return the score with its constants of the explained forward."""
        if self._held is None:
            with torch.no_grad():
                output = self.forward(self.inputs_of_call()) if self.original is None else self.original
            self._held = HeldConstants(self.scorer_of_call(), output)
        return self._held

    def replay(
        self,
        blocks: Mapping[tuple[str, int], Tensor],
        *,
        times: int = 1,
        hold: bool = False,
        others: Mapping[nn.Module, Sequence[Any]] | None = None,
    ) -> Tensor:
        """Run the model again with the outputs of blocks replaced, and return its scores (B,), in the graph.

        Blocks that were recorded return what they returned before, without being computed, so that little more is
        computed than what follows the last of them. What is computed runs in evaluation mode, so that nothing of the
        model changes in training.

        Args:
            blocks: Name and call of a recorded block to the tensor that it returns; other parts of its output stay.
            times: How many batches ``blocks`` holds, one after the other: everything else is repeated as often.
            hold: Keep what the score holds constant as it was in the explained forward, as :meth:`rerun` does.
            others: Further modules that are not computed, and what they return, one a call.

        Raises:
            InputError: the model was not called itself, or the caller computed the score.
        """
        if self.scorer is None or self.inputs is None:
            raise InputError(
                "method: it runs the model's head again, which attend() can only where a score is named and the model "
                "itself is called inside capture(): name score=, or take another method"
            )
        count = self.score.numel()

        def repeat(tensor: Tensor) -> Tensor:
            several = times > 1 and tensor.ndim > 0 and len(tensor) == count
            return tensor.repeat(times, *[1] * (tensor.ndim - 1)) if several else tensor

        outputs = {
            self.seen.replayed[name]: [
                _replace_first(map_tensors(output, repeat), blocks.get((name, call))) for call, output in pairs
            ]
            for name, of_calls in self.seen.outputs.items()
            if name in self.seen.replayed and (pairs := list(enumerate(of_calls)))
        }
        every = torch.arange(count).repeat(times)
        args, kwargs = self.inputs if times == 1 else take_rows(self.inputs, every, count)
        score = self._holding() if hold else None  # now, since it may run the model
        with contextlib.ExitStack() as stack:
            if self.create_graph:
                stack.enter_context(math_attention())
            stack.enter_context(run_eagerly())
            stack.enter_context(evaluating(self.root.modules()))
            stack.enter_context(same_randomness(list(self.root.parameters()), self.inputs))
            stack.enter_context(_returning({**(others or {}), **outputs}))
            output = self.root(*args, **kwargs)
            return ensure_per_sample(self.scorer(output) if score is None else score(output, every))


def _replace_first(output: Any, other: Tensor | None) -> Any:
    """Replace the first tensor of a block's output, its tokens; None replaces nothing."""
    first = next(tensors_in(output), None)
    return output if other is None else map_tensors(output, lambda tensor: other if tensor is first else tensor)


@contextlib.contextmanager
def _returning(outputs: Mapping[nn.Module, Sequence[Any]]) -> Iterator[None]:
    """Make modules return given outputs, one a call, inside the block, whatever they are called with."""

    def make_forward(of_calls: Sequence[Any]) -> Callable[..., Any]:
        left = iter(of_calls)
        return lambda *_args, **_kwargs: next(left)

    with replaced_forwards({module: make_forward(of_calls) for module, of_calls in outputs.items()}):
        yield
