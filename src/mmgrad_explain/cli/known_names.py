"""Names that the command line knows without importing torch. A test holds them equal to the library's."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

SCORE_HELP = {
    "shift": "what the text changes in the composed embedding; needs no target (default of composers)",
    "similarity": "cosine of the composed embedding and the target's embedding; needs --target",
    "pair": "reference and target both composed with the text, channels that agree count; needs --target",
    "pair-different": "the same, but channels that differ count; needs --target",
    "image-text": "cosine of picture and text (default of CLIP and similar models)",
    "match": 'the logit "picture and text match" (default of models that read the two together)',
    "answer": "log-likelihood of an answer to TEXT (default of models that answer in words)",
}
SCORES = tuple(SCORE_HELP)
SCORES_WITH_TARGET = ("similarity", "pair", "pair-different")
METHODS = (
    "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "legrad", "grad-eclip", "relevancy",
    "attention-rollout", "dense", "maskclip", "naclip", "relative-attention", "token-activation",
    "integrated-gradients", "occlusion", "rise",
)  # fmt: skip
WORD_WAYS = ("leave-one-out", "gradient")
COLORMAPS = ("turbo", "viridis", "magma", "inferno", "plasma", "gray", "hot", "jet")
DEVICES = ("cpu", "cuda", "mps")
PUBLISHED = ("clip4cir", "searle", "lincir", "pic2word", "sprc")
_STAGE = re.compile(r"network\.visual\.(?:layer|blocks\.)\d+(?=\.)")
_SEGMENTER = "network.segmenter."
_MERGED = re.compile(r"network\.neck\.lateral\.(\d+)\.weight")


@cache
def bundled_layers(name: str) -> tuple[str, ...]:
    """List the larger layers of a bundled model, by the names of its weights; ``mmgrad-explain layers`` lists all.

    Args:
        name: Name of the model.

    Returns:
        Dotted names: stages of the trunk, the maps that it hands on, the neck, the grid. Nothing for other models.
    """
    from importlib import resources

    from mmgrad_explain.composers.load import BUNDLED

    if name not in BUNDLED:
        return ()
    weights = sorted(_read_header(Path(str(resources.files("mmgrad_explain") / "weights" / name))))
    stages = dict.fromkeys(found[0] for weight in weights if (found := _STAGE.match(weight)))
    merged = [f"network.visual[{found[1]}]" for weight in weights if (found := _MERGED.fullmatch(weight))]
    maps = merged[:-1] if any(weight.startswith(_SEGMENTER) for weight in weights) else merged  # its classes come last
    return (*stages, *maps, "network.neck", "network.features")


def _read_header(folder: Path) -> dict[str, Any]:
    """Read the names of a model's tensors: a file of safetensors begins with eight bytes of length and as much JSON."""
    with (folder / "model.safetensors").open("rb") as stream:
        return json.loads(stream.read(int.from_bytes(stream.read(8), "little")))  # type: ignore[no-any-return]
