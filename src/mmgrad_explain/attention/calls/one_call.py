"""Explain one call of a model: run it, differentiate its score, and make maps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.calls.shared_blocks import find_shared_blocks, sharing
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.attention.places.image_owners import name_images
from mmgrad_explain.attention.places.record_layouts import batches_of
from mmgrad_explain.attention.reruns.map_checks import CallSource
from mmgrad_explain.attention.running.input_images import find_input_images
from mmgrad_explain.attention.running.modules import find_modules
from mmgrad_explain.attention.running.structures import image_size
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score, mention_guess
from mmgrad_explain.attention.word_values.measure import ExplainedCall
from mmgrad_explain.errors import GradientError

if TYPE_CHECKING:
    from torch import nn

    from mmgrad_explain.attention.settings import MapSettings
    from mmgrad_explain.attention.word_values.token_texts import RunModel
    from mmgrad_explain.explanation.result import Explanation


def explain_call(
    settings: MapSettings, args: tuple[Any, ...], kwargs: dict[str, Any], *, of_one_image: int = 0
) -> Explanation:
    """Run a model once and explain its score; see :meth:`MultiModalGradAttention.__call__`.

    Args:
        settings: How maps are made.
        args: The model's arguments.
        kwargs: The model's keyword arguments.
        of_one_image: How often one image is repeated in the batch; 0 where images may differ.
    """
    root = settings.root
    with undisturbed(root, (args, kwargs)) as parents:
        unchanged = detach_inputs((args, kwargs))
        of_call = find_input_images(root, unchanged)
        method = settings.choose_method(unchanged, of_call)
        plan = settings.plan(method, unchanged[0], unchanged[1], of_call)
        (args, kwargs), images = settings.owners.prepare(unchanged)
        with settings.record(plan, parents) as seen, settings.record_words(args, kwargs) as word_capture:
            shared = find_modules(root, find_shared_blocks(plan, method)) if of_one_image > 1 else {}
            with torch.set_grad_enabled(plan.gradient), sharing(list(shared.values()), of_one_image):
                output = _run(root, args, kwargs)
            seen.stop()
            settings.scorer = scorer = choose_score(root, settings.score, output, seen.activations)
            with mention_guess(scorer):
                score = scorer(output)
                seen.choose_parts(score)
                settings.owners.sort_records(seen, unchanged, images)
                layouts = settings.find_layouts(seen)
                score = ensure_per_sample(score, batches_of(seen, layouts) or None)
            call = ExplainedCall(scorer, [output], score[None], unchanged, _repeat(root), root)
            run = Run(
                root, seen, score, layouts, scorer, unchanged, images, plan.layers, plan.sites,
                retain_graph=not method.needs.of_layers_alone, also=word_capture.embeddings if word_capture else (),
                output=output, original=output,
            )  # fmt: skip
            size = images[0].size if images else image_size(unchanged)
            explanation = settings.explain(method, run, call, size, word_capture)
        named = name_images(explanation, seen, images)

    def explain_again(inputs: Any) -> Explanation:
        return explain_call(settings, *inputs)

    return replace(named, source=CallSource(root, unchanged, partial(call_model, root), scorer, explain_again))


def call_model(root: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """Call a model with (args, kwargs)."""
    return root(*inputs[0], **inputs[1])


def _repeat(root: nn.Module) -> RunModel:
    """Make a function that runs the model on other arguments."""
    return lambda args, kwargs, _samples: [root(*args, **kwargs)]


def _run(root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return root(*args, **kwargs)
    except RuntimeError as error:
        if "Inference tensors cannot be saved for backward" not in str(error):
            raise
        raise GradientError(
            "a part of the model runs inside a torch.inference_mode() block of its own, which cannot be "
            "undone from outside: use torch.no_grad() there"
        ) from error
