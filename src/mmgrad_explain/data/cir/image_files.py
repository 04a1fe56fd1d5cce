"""Opens the images of a composed-retrieval set, to find files that are incomplete or no images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mmgrad_explain.data.cir.dataset import Finding, find_level, list_used_images, sort_by_level
from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.data.cir.dataset import CirSet


def check_images(data: CirSet, progress: Callable[[str, int, int], None] | None = None) -> CirSet:
    """Open every image of a set that is not missing.

    Args:
        data: The set, as its reader gives it.
        progress: Called with the name of the work, the number of images opened, and the number of all images.

    Returns:
        The set with findings about the images that cannot be read.
    """
    there = [image for image in data.images.paths if image not in data.images.missing]
    reasons: dict[str, str] = {}
    for number, image in enumerate(there, 1):
        try:
            read_pixels(data.images.path(image))
        except InputError as error:
            reasons[image] = " ".join(str(error).split())
        if progress is not None:
            progress("images opened", number, len(there))
    findings = list(data.findings)
    for part, queries in data.queries.items():
        used = list_used_images(queries, data.images.galleries[part])
        named = [reasons[image] for image in used if image in reasons]
        what = f"image that cannot be read (of {len(used)})"
        findings += Finding.of(find_level(part), part, what, named, "fetch it again")
    return replace(data, findings=sort_by_level(findings))
