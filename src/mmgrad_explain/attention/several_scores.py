"""Explain several scores of one forward: each has its own gradient and maps, and no forward is repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.assembly import assemble, weigh_all
from mmgrad_explain.attention.gradient import check_grids_reached, take_gradients
from mmgrad_explain.attention.layouts.record_layouts import batches_of
from mmgrad_explain.attention.scores.checks import check_finite, ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score
from mmgrad_explain.attention.structures import image_size
from mmgrad_explain.attention.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.words import name_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
    from mmgrad_explain.explanation.result import Explanation


def explain_each(
    mmgrad: MultiModalGradAttention,
    inputs: Mapping[str, Any],
    outputs: Callable[[Any], Sequence[Any]],
    wanted: Sequence[tuple[int, int]],
) -> Explanation:
    """Explain several scores of one forward, as a call of ``mmgrad`` for each would.

    Args:
        mmgrad: Its settings are used.
        inputs: The model's keyword arguments, B samples.
        outputs: Takes the model's output and returns K outputs; the score is computed from each of them.
        wanted: For each sample of the result the number of the output and the number of the sample.

    Returns:
        The maps, one for each of ``wanted``.

    Raises:
        InputError: as a call.
        CaptureError: as a call.
        GradientError: as a call.
    """
    settings = mmgrad.settings
    root = settings.root
    with undisturbed(root, inputs) as parents:
        named: dict[str, Any] = detach_inputs(dict(inputs))
        layers = settings.find_target_layers((), named)
        with settings.record(layers, parents) as seen, settings.record_words((), named) as word_capture:
            each_output = outputs(root(**named))
            seen.stop()
            scorer = choose_score(root, settings.score, each_output[0])
            seen.choose_parts(scorer(each_output[0]))
            layouts = settings.find_layouts(seen)
            signed_of_outputs, scores, words = [], [], []
            for number, output in enumerate(each_output, start=1):
                score = ensure_per_sample(scorer(output), batches_of(seen, layouts))
                check_finite(score.detach())
                gradients, word_gradients = take_gradients(
                    score,
                    seen,
                    retain_graph=number < len(each_output),
                    also=word_capture.embeddings if word_capture else (),
                )
                check_grids_reached(gradients, layouts, root)
                signed_of_outputs.append(weigh_all(seen, gradients, layouts, settings.weighting, graph=False))
                scores.append(score.detach().float())
                if word_capture is not None and settings.name_words is not None:
                    values = word_capture.values(word_gradients, len(score))
                    words.append(name_words(values, settings.name_words(*word_capture.tokens())))

        def select(of_outputs: Sequence[Tensor]) -> Tensor:
            return torch.stack([of_outputs[number][sample] for number, sample in wanted])

        signed = {
            name: [select([of_output[name][call] for of_output in signed_of_outputs]) for call in range(len(calls))]
            for name, calls in signed_of_outputs[0].items()
        }
        return assemble(
            signed, select(scores), scorer.name, settings.weighting_name, (settings.fuse_name, settings.fuse), layouts,
            size=image_size(named), model=type(root).__name__,
            words=tuple(words[number][sample] for number, sample in wanted) if words else None,
        )  # fmt: skip
