"""Options of a triplet set of generated scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.scenes.text import PLACE_SHARE, RELATION_SHARE
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.reading import open_image

IMAGE_FORMATS = ("png", "jpg", "npy")
_loaded: dict[tuple[str, ...], tuple[np.ndarray, ...]] = {}


@dataclass(frozen=True)
class SceneSetOptions:
    """Which scenes a triplet set holds, and in which files.

    Equal options give equal sets, and a set of fewer triplets is the beginning of one of more.

    Attributes:
        seed: Names the series of scenes.
        size: Side of the images in pixels, 32 to 512.
        edits: Triplets of a scene, 1 to 16.
        format: ``"png"`` or ``"jpg"``: a file for each image, with masks in PNG; or ``"npy"``: uncompressed NumPy
            stacks, each of the images or masks of some scenes, which are written and read much faster.
        pairs: As in :class:`~mmgrad_explain.data.scenes.options.SceneOptions`.
        templates: As in ``SceneOptions``.
        objects: As in ``SceneOptions``.
        backdrops: Image files to draw the shapes on; drawn backgrounds if there are none.
        relations: As in ``SceneOptions``.
        places: As in ``SceneOptions``.
    """

    seed: int = 0
    size: int = 96
    edits: int = 4
    format: str = "png"
    pairs: str = "training"
    templates: str = "training"
    objects: tuple[int, int] = (1, 6)
    backdrops: tuple[str, ...] = ()
    relations: float = RELATION_SHARE
    places: float = PLACE_SHARE

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is unknown or out of range, or a backdrop cannot be read.
        """
        if self.format not in IMAGE_FORMATS:
            raise InputError(f"format must be 'png', 'jpg' or 'npy', got {self.format!r}")
        scenes(self.seed, 0, size=self.size, edits=self.edits, options=self.scene_options())

    def scene_options(self) -> SceneOptions:
        """Make the generator's options; a process reads the backdrops once."""
        if self.backdrops not in _loaded:
            _loaded[self.backdrops] = tuple(np.asarray(open_image(file)) for file in self.backdrops)
        return SceneOptions(
            pairs=self.pairs,
            templates=self.templates,
            objects=self.objects,
            backdrops=_loaded[self.backdrops],
            relations=self.relations,
            places=self.places,
        )
