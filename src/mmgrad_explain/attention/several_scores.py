"""Explain several scores of one forward: each has its own gradient and maps, and no forward is repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.assembly import assemble
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.places.record_layouts import batches_of
from mmgrad_explain.attention.reruns.map_checks import CallSource
from mmgrad_explain.attention.running.input_images import find_input_images
from mmgrad_explain.attention.running.structures import image_size
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import check_finite, ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score
from mmgrad_explain.attention.word_values.measure import ExplainedCall, WordValues, measure_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
    from mmgrad_explain.attention.scores.base import Score
    from mmgrad_explain.attention.word_values.token_texts import RunModel
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
        images = find_input_images(root, ((), named))
        method = settings.choose_method(((), named), images)
        plan = settings.plan(method, (), named, images)
        with settings.record(plan, parents) as seen, settings.record_words((), named) as word_capture:
            with torch.set_grad_enabled(plan.gradient):
                original = root(**named)
                each_output = outputs(original)
            seen.stop()
            scorer = choose_score(root, settings.score, each_output[0])
            seen.choose_parts(scorer(each_output[0]))
            layouts = settings.find_layouts(seen)
            made, scores, gradients = [], [], []
            for number, output in enumerate(each_output):
                score = ensure_per_sample(scorer(output), batches_of(seen, layouts) or None)
                check_finite(score.detach())
                run = Run(
                    root, seen, score, layouts, _score_one(scorer, outputs, number), ((), named), images,
                    plan.layers, plan.sites,
                    retain_graph=number + 1 < len(each_output) or not method.needs.of_layers_alone,
                    also=word_capture.embeddings if word_capture else (), output=output,
                    original=original,
                )  # fmt: skip
                made.append(method.maps(run))
                settings.remember_method(made[-1])
                method = settings.method or method  # the gradient of the first has chosen it
                scores.append(score.detach().float())
                gradients.append(run.gradients_of_also())
            words: list[WordValues] = []
            if word_capture is not None and settings.words is not None:
                repeat: RunModel = lambda _args, kwargs, _samples: outputs(root(**kwargs))  # noqa: E731
                call = ExplainedCall(
                    scorer, each_output, torch.stack(scores), ((), named), repeat, root, in_rounds=True
                )
                words = measure_words(settings.words, word_capture, call, gradients)

        def select(of_outputs: Sequence[Tensor]) -> Tensor:
            return torch.stack([of_outputs[number][sample] for number, sample in wanted])

        signed = {
            name: [select([maps.signed[name][call] for maps in made]) for call in range(len(calls))]
            for name, calls in made[0].signed.items()
        }
        notes = tuple(
            replace(note, samples=(index,))
            for index, (number, sample) in enumerate(wanted)
            for note in made[number].notes
            if note.is_about(sample)
        )
        explanation = assemble(
            replace(made[0], signed=signed, notes=notes), select(scores), scorer.name, made[0].method or method.name,
            (settings.fuse_name, settings.fuse), size=image_size(named), model=type(root).__name__,
            words=_select_words(words, wanted) if words else None,
        )  # fmt: skip

    def score_wanted(of_outputs: Sequence[Any]) -> Tensor:
        values = [scorer(output) for output in of_outputs]
        return torch.stack([values[number][sample] for number, sample in wanted])

    source = CallSource(
        root, ((), named), lambda changed: outputs(root(**changed[1])), score_wanted,
        rows=tuple(sample for _, sample in wanted),
    )  # fmt: skip
    return replace(explanation, source=source)


def _select_words(of_outputs: Sequence[WordValues], wanted: Sequence[tuple[int, int]]) -> WordValues:
    """Select the words and the notes of each sample of the result."""
    notes = [
        note
        if note.samples is None
        else replace(note, samples=tuple(at for at, (_, sample) in enumerate(wanted) if note.is_about(sample)))
        for note in of_outputs[0].notes
    ]
    return WordValues(
        tuple(of_outputs[number].words[sample] for number, sample in wanted),
        tuple(of_outputs[number].ways[sample] for number, sample in wanted),
        tuple(notes),
    )


def _score_one(score: Score, outputs: Callable[[Any], Sequence[Any]], number: int) -> Callable[[Any], Tensor]:
    """Make a function of the model's output that scores one of the outputs made of it."""
    return lambda output: score(outputs(output)[number])
