"""Text-conditioned gradient attention maps for vision-language models.

The names below are loaded when first used: importing the package takes milliseconds and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mmgrad_explain._version import __version__

if TYPE_CHECKING:
    from mmgrad_explain.api import answer_maps, explain, phrase_maps
    from mmgrad_explain.attention import (
        AnswerLikelihood,
        Capture,
        Cells,
        Explanation,
        ImageTextCosine,
        Layout,
        MatchLogit,
        MMGrad,
        MultiModalGradAttention,
        PairScore,
        Similarity,
        TextShift,
        Word,
        candidate_layers,
    )
    from mmgrad_explain.attention.captum import MMGradAttribution
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.fusion.composer import FusionComposer
    from mmgrad_explain.composers.load import load_composer
    from mmgrad_explain.composers.towers.composer import TwoTowerComposer
    from mmgrad_explain.errors import (
        CaptureError,
        GradientError,
        HubUnreachableError,
        InputError,
        MMGradError,
        MMGradWarning,
        OutputExistsError,
    )
    from mmgrad_explain.explanation.phrases import PhraseMaps
    from mmgrad_explain.gallery.gallery import Gallery
    from mmgrad_explain.grounding import AttentionGroundingLoss, grounding_targets
    from mmgrad_explain.notes import Note

_HOMES = {
    "attention": (
        "AnswerLikelihood",
        "Capture",
        "Cells",
        "Explanation",
        "ImageTextCosine",
        "Layout",
        "MMGrad",
        "MatchLogit",
        "MultiModalGradAttention",
        "PairScore",
        "Similarity",
        "TextShift",
        "Word",
        "candidate_layers",
    ),
    "attention.captum": ("MMGradAttribution",),
    "explanation.phrases": ("PhraseMaps",),
    "composers.base": ("Composer",),
    "composers.fusion.composer": ("FusionComposer",),
    "composers.load": ("load_composer",),
    "composers.towers.composer": ("TwoTowerComposer",),
    "errors": (
        "CaptureError",
        "GradientError",
        "HubUnreachableError",
        "InputError",
        "MMGradError",
        "MMGradWarning",
        "OutputExistsError",
    ),
    "api": ("answer_maps", "explain", "phrase_maps"),
    "gallery.gallery": ("Gallery",),
    "grounding": ("AttentionGroundingLoss", "grounding_targets"),
    "notes": ("Note",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnswerLikelihood",
    "AttentionGroundingLoss",
    "Capture",
    "CaptureError",
    "Cells",
    "Composer",
    "Explanation",
    "FusionComposer",
    "Gallery",
    "GradientError",
    "HubUnreachableError",
    "ImageTextCosine",
    "InputError",
    "Layout",
    "MMGrad",
    "MMGradAttribution",
    "MMGradError",
    "MMGradWarning",
    "MatchLogit",
    "MultiModalGradAttention",
    "Note",
    "OutputExistsError",
    "PairScore",
    "PhraseMaps",
    "Similarity",
    "TextShift",
    "TwoTowerComposer",
    "Word",
    "__version__",
    "answer_maps",
    "candidate_layers",
    "explain",
    "grounding_targets",
    "load_composer",
    "phrase_maps",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
