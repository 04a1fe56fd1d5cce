"""Names that the command line knows without importing torch. A test holds them equal to the library's."""

from __future__ import annotations

SCORES = ("shift", "similarity", "pair", "pair-different", "image-text", "match", "answer")
SCORES_WITH_TARGET = ("similarity", "pair", "pair-different")
WEIGHTINGS = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")
COLORMAPS = ("turbo", "viridis", "magma", "inferno", "plasma", "gray", "hot", "jet")
DEVICES = ("cpu", "cuda", "mps")
_BLOCKS = (
    "network.visual.layer1", "network.visual.layer2", "network.visual[0]", "network.visual[1]", "network.visual[2]",
    "network.neck", "network.features",
)  # fmt: skip
LAYERS = {"reference": (*_BLOCKS, "network.visual.layer3"), "clothing": _BLOCKS}
"""The larger layers of the bundled models; ``mmgrad-explain layers`` lists all."""
