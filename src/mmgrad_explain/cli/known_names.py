"""Names that the command line knows without importing torch. A test holds them equal to the library's."""

from __future__ import annotations

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
_BLOCKS = (
    "network.visual.layer1", "network.visual.layer2", "network.visual[0]", "network.visual[1]", "network.visual[2]",
    "network.neck", "network.features",
)  # fmt: skip
LAYERS = {"reference": (*_BLOCKS, "network.visual.layer3"), "clothing": _BLOCKS}
"""The larger layers of the bundled models; ``mmgrad-explain layers`` lists all."""
