"""Explain what a visitor asks, and pack what the page shows. This module does not import Gradio."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmgrad_explain.api import explain, phrase_maps
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import sides_with_maps
from mmgrad_explain.web.code_snippets import explain_snippet
from mmgrad_explain.web.records import explanation_record
from mmgrad_explain.web.viewer import pack_map, pack_payload

if TYPE_CHECKING:
    from mmgrad_explain.explanation.result import Explanation
    from mmgrad_explain.web.explain_request import ExplainRequest
    from mmgrad_explain.web.models import Models


def explain_request(request: ExplainRequest, models: Models) -> dict[str, Any]:
    """Explain, and pack what the page shows.

    Args:
        request: What the visitor asks.
        models: The page's models.

    Returns:
        A payload of :mod:`~mmgrad_explain.web.viewer`: a tile for each sentence (and phrase) and each target.

    Raises:
        InputError: ``phrases`` goes with several sentences or a target, or as :func:`~mmgrad_explain.api.explain`.
    """
    name, why = models.choose_model(request.model, [request.image], request.texts)
    with models.lock:
        explanation = replace(_explain(request, name, models), model_choice=why)
        if request.check:
            for target in sides_with_maps(explanation):
                explanation.check(target=target)
    tiles = []
    for index, title in enumerate(explanation.texts or ()):
        caption = _caption(explanation, index, name)
        tiles.append(pack_map(explanation, index, title=title, caption=caption))
        if request.target is not None and True in sides_with_maps(explanation):
            tiles.append(pack_map(explanation, index, target=True, title=f"{title} (on the target)", caption=caption))
    asked = {
        "texts": list(request.texts), "model": name, "layer": request.layer, "score": request.score,
        "method": request.method, "words": request.words, "phrases": request.phrases, "check": request.check,
        "answer": request.answer, "picture": request.image_name,
        "target": None if request.target is None else request.target_name,
    }  # fmt: skip
    return pack_payload(tiles, data=explanation_record(asked, explanation), snippet=explain_snippet(request, name))


def _caption(explanation: Explanation, index: int, model: str) -> str:
    """Return the score and the model; with the reason where the model was chosen for the visitor."""
    chosen = f"{model} answers, because {explanation.model_choice}"
    score = f"{explanation.score_name} = {float(explanation.score[index]):.5g}"
    return f"{score}; method {explanation.method}; {chosen if explanation.model_choice else f'model {model}'}"


def _explain(request: ExplainRequest, name: str, models: Models) -> Explanation:
    options: dict[str, Any] = {
        "model": models.composer(name), "layer": request.layer, "score": request.score,
        "method": request.method, "words": request.words, "answer": request.answer,
    }  # fmt: skip
    if not request.phrases:
        return explain(request.image, list(request.texts), request.target, **options)
    if len(request.texts) > 1:
        raise InputError("phrases belong to one sentence: leave one line, or do not ask for each phrase by itself")
    if request.target is not None:
        raise InputError("phrases go without a target picture: take it away, or do not ask for each phrase by itself")
    return phrase_maps(request.image, request.texts[0], **options).explanation
