"""A frozen trunk that runs once for each image: what it made is kept in memory."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import torch

from mmgrad_explain.composers.reference.plain_mobilenet import PlainMobileNetV2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@contextmanager
def remembered_trunks() -> Iterator[None]:
    """Let every frozen MobileNetV2 inside the block look up images that it has seen, by their pixels.

    All of them must have the same weights. One that is trained runs as ever, and so do images that need a gradient.
    """
    known: dict[tuple[bytes, bool], list[Tensor]] = {}
    run = PlainMobileNetV2.forward

    def look_up(trunk: PlainMobileNetV2, pixels: Tensor) -> list[Tensor]:
        trained = any(parameter.requires_grad for parameter in trunk.parameters()) and torch.is_grad_enabled()
        if trained or pixels.requires_grad:
            return run(trunk, pixels)
        low = torch.is_autocast_enabled(pixels.device.type)
        keys = [(hashlib.blake2b(one.cpu().numpy().tobytes(), digest_size=16).digest(), low) for one in pixels]
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in known}
        if new:
            with torch.no_grad():
                made = run(trunk, pixels[list(new.values())])
            known.update({key: [one[i].clone() for one in made] for i, key in enumerate(new)})
        return [torch.stack(maps) for maps in zip(*(known[key] for key in keys), strict=True)]

    with mock.patch.object(PlainMobileNetV2, "forward", look_up):
        yield
