"""What processors of composers share: batches of images and texts, and settings in a folder."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.base import prepare_batch
from mmgrad_explain.composers.files import PROCESSOR_CONFIG, TOKENIZER_FILE, read_processor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note


class BatchProcessor:
    """Prepares images and texts as a model takes them."""

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch.

        Args:
            images: Reference images, RGB, of any size.
            texts: One text for each image. A longer one than the model takes is cut, with a note.
            targets: One target image for each reference image.

        Returns:
            ``pixel_values`` (B, 3, H, W) float32, ``input_ids`` and ``attention_mask`` (B, L) int64; with targets also
            ``target_pixel_values``; placements and notes.

        Raises:
            InputError: If the numbers of images, texts and targets differ, or the images have different sizes for the
                model.
        """
        return prepare_batch(self, images, texts, targets)

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids and mask ``(B, L)`` int64. Notes on cuts and unknown words add to ``notices``."""


class SavedProcessor(BatchProcessor):
    """A processor that a model folder keeps in ``preprocessor_config.json`` and ``tokenizer.json``.

    Its attributes are the arguments of its constructor: the tokenizer, and settings that JSON can hold.
    """

    tokenizer: Any

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``preprocessor_config.json`` and ``tokenizer.json`` into a folder; make the folder if needed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {key: value for key, value in vars(self).items() if key != "tokenizer"}
        settings = {"processor_class": type(self).__name__, **settings}
        (folder / PROCESSOR_CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        self.tokenizer.save(str(folder / TOKENIZER_FILE))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            InputError: If a file is missing or cannot be read.
        """
        return read_processor(Path(folder), cls)
