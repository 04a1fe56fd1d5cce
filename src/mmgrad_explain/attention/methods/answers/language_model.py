"""What methods for models that answer in words ask of the model: its language model, and where an answer lies in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.attention.model_hints import ask_answer_layers, ask_answer_positions
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.model_hints import AnswerLayers, AnswerPositions


def find_answer_layers(model: nn.Module, method: str) -> AnswerLayers:
    """Ask a model for its language model.

    Raises:
        InputError: the model does not answer in words, or does not tell.
    """
    layers = ask_answer_layers(model)
    if layers is None:
        raise InputError(
            f"method: {method!r} explains models that answer in words from one sequence of image and text, and "
            f"{type(model).__name__} does not say where its answers lie: load a LLaVA, PaliGemma, Gemma 3, Qwen-VL, "
            "SmolVLM or InternVL by load_composer(...), give the model answer_layers and answer_positions, or take "
            "another method, such as 'gradcam'"
        )
    return layers


def find_positions(run: Run, method: str) -> AnswerPositions:
    """Ask a model where the answers of a forward lie.

    Raises:
        InputError: as :func:`find_answer_layers`; or the forward is the caller's own.
    """
    layers, ask = find_answer_layers(run.root, method), ask_answer_positions(run.root)
    if ask is None:
        raise InputError(
            f"method: {type(run.root).__name__} tells its language model, {layers.hidden!r}, but has no "
            f"answer_positions, which {method!r} needs"
        )
    if run.inputs is None or run.output is None:
        raise InputError(
            f"method: {method!r} reads the answer of the model's output, which attend() does not have: call "
            "mmgrad(...) itself, or take another method, such as 'gradcam'"
        )
    args, kwargs = run.inputs
    return ask(run.output, *args, **kwargs)
