"""Open published weights of composed retrieval as a composer.

The files are the user's own, as their authors published them; nothing is downloaded but a tower that is named by its
hub id. What the authors' licences say is in the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain._system.devices import device_of
from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.files import fill
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.fusion.registry import build_fusion, method_of
from mmgrad_explain.composers.fusion.tower_reading import measure_sizes, two_towers
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.published.heads import Head, read_combiner, read_im2text, read_phi, read_searle
from mmgrad_explain.composers.published.openai_clip import read_openai_clip
from mmgrad_explain.composers.published.weight_files import read_weight_file
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mmgrad_explain.composers.dual_encoder import DualEncoder

HEADS: dict[str, Callable[[Mapping[str, Any], str | Path], Head]] = {
    "clip4cir": read_combiner,
    "searle": read_searle,
    "lincir": read_phi,
    "pic2word": read_im2text,
}
"""Readers of networks on a CLIP's embeddings, by the name of the paper.

:meta hide-value:
"""
PUBLISHED = (*HEADS, "sprc")
"""Names of the papers whose weights can be opened."""


def open_published(
    name: str, file: str | Path, *, tower: str | Path | Composer | None = None, prompt: str | None = None
) -> Composer:
    """Open published weights as a composer: to explain, evaluate, index, and train further.

    Args:
        name: Of the paper, from :data:`PUBLISHED`.
        file: The weights as they were published.
        tower: The CLIP that they were trained on: a folder or hub id, a loaded composer, or a file with OpenAI's names
            (CLIP4Cir's fine-tuned CLIP). None where ``file`` holds it as well, as Pic2Word's does. For SPRC, whose file
            is whole, a folder or hub id of BLIP-2 whose image processor and tokenizer are taken.
        prompt: Another prompt than that of the paper, for textual inversion; see
            :meth:`~mmgrad_explain.composers.fusion.composer.FusionComposer.from_tower`.

    Returns:
        The composer, in eval mode.

    Raises:
        InputError: There is no such paper, a file holds something else or lacks a weight, or the tower does not fit.
    """
    check_choice("published", name, PUBLISHED)
    held = read_weight_file(file)
    if name == "sprc":
        return _sprc(held, file, tower, prompt)
    head = HEADS[name](held, file)
    if prompt is not None and not head.word_width:
        raise InputError(f"prompt: {name} has none: it reads texts as they are")
    towers = _tower(name, held, file, tower)
    sizes = measure_sizes(towers, method_of(head.method).reads)
    if (head.embed_dim, head.word_width or sizes.word_width) != (sizes.embed_dim, sizes.word_width):
        raise InputError(
            f"tower: {file} reads embeddings of {head.embed_dim} numbers"
            f"{f' and writes words of {head.word_width}' if head.word_width else ''}, and {towers.name} has embeddings "
            f"of {sizes.embed_dim}{f' and words of {sizes.word_width}' if head.word_width else ''}: take the CLIP that "
            "the weights were trained on"
        )
    fusion = fill(lambda: build_fusion(head.method, sizes, head.options), head.weights).to(device_of(towers))
    prompt = prompt or head.prompt
    return FusionComposer(towers, head.method, fusion, prompt=prompt, pad_ratio=head.pad_ratio, name=name).eval()


def _sprc(
    held: Mapping[str, Any], file: str | Path, tower: str | Path | Composer | None, prompt: str | None
) -> Composer:
    from mmgrad_explain.composers.published.lavis_blip2 import read_sprc

    if isinstance(tower, Composer) or prompt is not None:
        what = "tower: SPRC takes" if prompt is None else "prompt: SPRC has none, and takes as its tower"
        raise InputError(f"{what} a folder or hub id of BLIP-2, for its image processor and tokenizer")
    return read_sprc(held, file, tower)


def _tower(name: str, held: Mapping[str, Any], file: str | Path, tower: str | Path | Composer | None) -> DualEncoder:
    """Find the towers.

    Raises:
        InputError: None are named, and the file holds none.
    """
    if isinstance(tower, Composer):
        return two_towers(tower)
    if tower is None:
        if not isinstance(held.get("state_dict"), dict) or name != "pic2word":
            raise InputError(
                f"tower: name the CLIP that {file} was trained on: a folder, a hub id, or a file of weights"
            )
        return read_openai_clip({"state_dict": held["state_dict"]}, file, name)
    path = Path(os.fspath(tower)).expanduser()
    if path.is_file():
        return read_openai_clip(read_weight_file(path), path, path.stem)
    return two_towers(load_composer(tower))
