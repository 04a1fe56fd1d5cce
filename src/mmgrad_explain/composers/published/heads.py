"""Published networks on a CLIP's embeddings: CLIP4Cir's combiner, and the textual inversion of three papers.

Key names and settings are those of the papers' own code: CLIP4Cir (Baldrati et al., CVPR Workshops 2022), SEARLE
(Baldrati et al., arXiv 2303.15247), LinCIR (Gu et al., arXiv 2312.01998), Pic2Word (Saito et al., arXiv 2302.03084).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mmgrad_explain.composers.fusion.processor import PROMPT
from mmgrad_explain.composers.published.weight_files import check_shapes, rename, weights_in
from mmgrad_explain.images.ratio_padding import TARGET_RATIO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

_COMBINER = {
    "image_projection_layer": "combiner.image.0",
    "text_projection_layer": "combiner.text.0",
    "combiner_layer": "combiner.mix.0",
    "output_layer": "combiner.mix.3",
    "dynamic_scalar.0": "combiner.gate.0",
    "dynamic_scalar.3": "combiner.gate.2",
}
_PHI = {"layers.0": "word.0", "layers.3": "word.3", "layers.6": "word.6"}
_IM2TEXT = {"layers.0.0": "word.0", "layers.1.0": "word.3", "fc_out": "word.6"}
PIC2WORD_PROMPT = "a photo of $ , {text}"
"""Of Pic2Word's own code, for CIRR and FashionIQ; there the pseudo-word is written ``*``."""


class Head(NamedTuple):
    """A published network as a method on two towers.

    Attributes:
        method: Name of the method.
        options: Its options.
        weights: Its weights, with their names in this package.
        embed_dim: Length of the embeddings that it reads.
        word_width: Of the pseudo-words that it writes; 0 if it writes none.
        prompt: That it was published with.
        pad_ratio: To which long images are padded; None leaves them as they are.
    """

    method: str
    options: dict[str, Any]
    weights: dict[str, Tensor]
    embed_dim: int
    word_width: int = 0
    prompt: str = PROMPT
    pad_ratio: float | None = None


def read_combiner(held: Mapping[str, Any], file: str | Path) -> Head:
    """Read CLIP4Cir's combiner.

    Raises:
        InputError: The file holds no such network.
    """
    what = "combiner of CLIP4Cir"
    weights = rename(weights_in(held, ("Combiner", "state_dict"), file), _COMBINER, what, file)
    width, size = weights["combiner.image.0.weight"].shape
    hidden, gate = len(weights["combiner.mix.0.bias"]), len(weights["combiner.gate.0.bias"])
    shapes = {
        "combiner.text.0.weight": (width, size), "combiner.mix.0.weight": (hidden, 2 * width),
        "combiner.mix.3.weight": (size, hidden), "combiner.gate.0.weight": (gate, 2 * width),
        "combiner.gate.2.weight": (1, gate),
    }  # fmt: skip
    check_shapes(weights, shapes, f"{file}, a {what}")
    options = {
        "width": width, "hidden": hidden, "gate_width": gate, "activation": "relu", "text_first": True,
        "dropout": 0.5, "gate_dropout": 0.5, "normalise_inputs": False,
    }  # fmt: skip
    return Head("combiner", options, weights, size, pad_ratio=TARGET_RATIO)


def read_searle(held: Mapping[str, Any], file: str | Path) -> Head:
    """Read the network of SEARLE that makes a word of an image. It was trained on padded images.

    Raises:
        InputError: The file holds no such network.
    """
    return read_phi(held, file)._replace(pad_ratio=TARGET_RATIO)


def read_phi(held: Mapping[str, Any], file: str | Path) -> Head:
    """Read LinCIR's network, which turns an image into a pseudo-word. SEARLE's network has the same layout.

    Raises:
        InputError: The file holds no such network.
    """
    return _inversion(weights_in(held, ("Phi", "state_dict"), file), _PHI, "network Phi", file, "gelu", PROMPT)


def read_im2text(held: Mapping[str, Any], file: str | Path) -> Head:
    """Read Pic2Word's network that makes a word of an image.

    Raises:
        InputError: The file holds no such network.
    """
    weights = weights_in(held, ("state_dict_img2text",), file)
    return _inversion(weights, _IM2TEXT, "network of Pic2Word", file, "relu", PIC2WORD_PROMPT)


def _inversion(
    weights: Mapping[str, Tensor], names: Mapping[str, str], what: str, file: str | Path, activation: str, prompt: str
) -> Head:
    found = rename(weights, names, what, file)
    width, size = found["word.0.weight"].shape
    words = len(found["word.6.bias"])
    check_shapes(found, {"word.3.weight": (width, width), "word.6.weight": (words, width)}, f"{file}, a {what}")
    dropout = 0.1 if activation == "relu" else 0.5
    options = {"width": width, "activation": activation, "dropout": dropout, "normalise_inputs": False}
    return Head("inversion", options, found, size, words, prompt)
