"""Relative attention: where an answer attends in an image more than a neutral description of it would.

Source: Zhang et al., MLLMs Know Where to Look, ICLR 2025, arXiv 2502.17422, section 4: the attention of the position
that predicts the answer to the image's tokens, mean over heads, in one layer of the language model, divided by the same
for the question "Write a general description of the image.". What every question attends to, such as attention sinks,
cancels out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from mmgrad_explain.attention.layouts.layout import ensure_layout, fold_map, to_grid
from mmgrad_explain.attention.methods.answers.attention_sinks import border_share, find_sinks
from mmgrad_explain.attention.methods.answers.language_model import find_answer_layers, find_positions
from mmgrad_explain.attention.methods.base import MethodMaps, NamedModules, Needs
from mmgrad_explain.attention.model_hints import ask_layout_for
from mmgrad_explain.attention.recording.attention_calls import AttentionRecorder
from mmgrad_explain.attention.running.modules import find_layers
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.errors import CaptureError, InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.model_hints import AnswerLayers, AnswerPositions
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall
    from mmgrad_explain.attention.recording.capture import Capture

NAME = "relative-attention"
_DEPTH = 14 / 32  # the layer that the paper takes of LLaVA-1.5's 32, counted from 0
_LEAST = 1e-3  # of the mean: what neutral attention counts at least, so that no place is divided by nothing


def relative_attention(asked: Tensor, neutral: Tensor) -> Tensor:
    """Divide the attention for a question by that for a neutral one.

    Args:
        asked: Attention to each place of the image, (B, h, w).
        neutral: Likewise; where it is less than a thousandth of its mean, that counts instead.

    Returns:
        (B, h, w); 1 where both attend alike.
    """
    least = (_LEAST * neutral.mean((1, 2), keepdim=True)).clamp(min=torch.finfo(neutral.dtype).tiny)
    return asked / torch.maximum(neutral, least)


def attention_of_rows(probabilities: Tensor, rows: Tensor) -> Tensor:
    """Compute the mean attention over heads and over some positions of the sequence.

    Args:
        probabilities: (B, H, L, L).
        rows: Which positions count in each sample, (B, L) bool, at least one.

    Returns:
        (B, L) float32 (float64 stays).
    """
    means = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    weights = rows.to(means) / rows.sum(1, keepdim=True)
    return torch.einsum("bhqk,bq->bk", means, weights) / means.shape[1]


def middle_block(blocks: Sequence[str]) -> str:
    """Return the block at the depth that the paper takes: the 15th of LLaVA-1.5's 32."""
    return blocks[int(len(blocks) * _DEPTH)]


def _name_modules(model: nn.Module, layers: tuple[str, ...] | None) -> NamedModules:
    own = find_answer_layers(model, NAME)
    chosen = (middle_block(own.blocks),) if layers is None else layers
    unknown = [name for name in chosen if name not in own.blocks]
    if unknown:
        raise InputError(
            f"layer: {NAME!r} reads the attention of blocks of the language model, {own.blocks[0]!r} to "
            f"{own.blocks[-1]!r}; {unknown[0]!r} is none of them"
        )
    return NamedModules(layers=(own.hidden,), attention=chosen)


class RelativeAttention:
    """The attention of an answer to the image over that of a neutral question; the model runs once more for it.

    The positions that predict the tokens of the answer, or of the part of it that the score counts, are averaged; the
    paper takes the first token's. The layers are blocks of the language model; by default one a little before the
    middle, :func:`middle_block`.
    """

    name = NAME
    differentiable = False
    needs = Needs(named=_name_modules, reruns=True, gradient=False)

    def __init__(self) -> None:
        self._neutral: WeakKeyDictionary[Capture, dict[str, Tensor]] = WeakKeyDictionary()

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of one forward, one a block.

        Raises:
            InputError: the model does not tell where its answers lie, or takes no neutral question.
            CaptureError: a block has no attention that can be read.
        """
        positions, layers = find_positions(run, NAME), find_answer_layers(run.root, NAME)
        (layout,) = run.layouts[layers.hidden]
        calls = [call for call in run.attention if call.block in layers.blocks]
        blocks = list(dict.fromkeys(call.block for call in calls))
        before = torch.nn.functional.pad(positions.counted[:, 1:], (0, 1))  # a token is predicted one position before
        asked = _map_attention(calls, before, layout, layers)
        if run.seen not in self._neutral:  # which parts of one answer share
            self._neutral[run.seen] = _attend_neutrally(run, positions, layers, blocks)
        neutral = self._neutral[run.seen]
        return MethodMaps(
            {name: [relative_attention(maps, neutral[name])] for name, maps in asked.items()},
            {name: [layout] for name in asked},
            notes=_note_sinks(asked),
        )


def _attend_neutrally(
    run: Run, positions: AnswerPositions, layers: AnswerLayers, blocks: Sequence[str]
) -> dict[str, Tensor]:
    """Run the model on the same images with a neutral question, and map the attention of its last position."""
    inputs = positions.neutral_inputs()
    with (
        torch.no_grad(),
        same_randomness(list(run.root.parameters()), inputs),
        AttentionRecorder(find_layers(run.root, list(blocks))) as recorder,
    ):
        run.root(**inputs)
    ask = ask_layout_for(run.root)
    layout = None if ask is None else ensure_layout(ask(layers.hidden, **inputs))
    if layout is None:
        raise InputError(f"method: {NAME!r} needs the model's own layout_for, which places the image's tokens")
    last = torch.zeros(recorder.calls[0].probabilities.shape[::3], dtype=torch.bool)
    last[:, -1] = True
    return _map_attention(recorder.calls, last, layout, layers)


def _map_attention(
    calls: Sequence[AttentionCall], rows: Tensor, layout: AnyLayout, layers: AnswerLayers
) -> dict[str, Tensor]:
    """Map the attention of some positions to the image, by block: (B, h, w)."""
    found: dict[str, Tensor] = {}
    for call in calls:
        probabilities = call.probabilities.detach()
        if probabilities.shape[-2:] == (rows.shape[1],) * 2 and call.block not in found:
            attention = attention_of_rows(probabilities, rows.to(probabilities.device))
            found[call.block] = fold_map(to_grid(attention[..., None], layout)[:, 0], layout)
    if not found:
        raise CaptureError(
            f"method: {NAME!r} finds no attention in the blocks of {layers.hidden!r}, whose kernels may be of another "
            "package: load the model with attn_implementation='sdpa', or take another method, such as "
            "'token-activation'"
        )
    return found


def _note_sinks(asked: dict[str, Tensor]) -> tuple[Note, ...]:
    """Note the samples whose attention itself is mostly at the image's border."""
    return tuple(
        Note(
            "attention-sink",
            f"{float(border_share(maps)[sample]):.0%} of the answer's attention to the image is at its border, as in "
            "attention sinks; the neutral question's is divided out",
            (sample,),
        )
        for maps in asked.values()
        for sample in find_sinks(maps)
    )
