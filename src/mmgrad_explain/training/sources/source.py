"""The interface of a source of training data, and of its options in a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgrad_explain.data.batches.batch import ImageBatch
    from mmgrad_explain.images.placement import FitImage


class Source(Protocol):
    """Gives the images and texts of every step."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the texts can hold, in lower case; empty if it is not known beforehand."""

    @property
    def label_classes(self) -> Mapping[str, int]:
        """Number of classes, background included, of each label map in the batches."""

    @property
    def facts(self) -> int:
        """Number of facts that the batches hold of every image; 0 if it knows none."""

    def batch(self, seed: int, step: int) -> ImageBatch:
        """Return the batch of a step. Equal seeds and steps give equal batches, in any order of calls."""


class SourceOptions(Protocol):
    """Options of one kind of source: a frozen dataclass."""

    @property
    def weight(self) -> float:
        """How often the source is drawn, relative to the others."""

    @property
    def knows_context(self) -> bool:
        """Whether batches say where the other objects in a text are (``context_masks``)."""

    @property
    def knows_facts(self) -> bool:
        """Whether batches say what every image shows (``facts``)."""

    @property
    def knows_regions(self) -> bool:
        """Whether batches say where maps should be bright."""

    @property
    def compares_maps(self) -> bool:
        """Whether maps are to be compared with each other where a batch does not say this."""

    @property
    def knows_paraphrases(self) -> bool:
        """Whether batches have another text for some edits that asks for the same (``paraphrases``)."""

    @property
    def has_own_edits(self) -> bool:
        """Whether triplets can have kinds of edits that this package does not make."""

    @property
    def draws_images(self) -> bool:
        """Whether images are drawn, cut out or changed anew in every batch, so that hardly one returns."""

    def build(self, name: str, size: int, *, labels: bool, held_out: bool, fit_image: FitImage | None = None) -> Source:
        """Build the source.

        Args:
            name: Name of the source in the config, for messages.
            size: Side of the square images, pixels.
            labels: Whether label maps are used.
            held_out: Give the images that are kept from training.
            fit_image: How the model's processor fits an image; None letterboxes it. Sources that edit or crop images
                fit them in their own way.

        Raises:
            InputError: If a folder is missing or not as it should be.
        """


def require_folder(name: str, folder: str) -> str:
    """Return the folder of a source, or raise InputError if the config names none."""
    if not folder:
        raise InputError(f"sources.{name}.folder is missing: say where it is, --set sources.{name}.folder=FOLDER")
    return folder
