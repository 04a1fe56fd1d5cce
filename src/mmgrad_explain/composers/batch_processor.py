"""Base classes of processors: batches of images and texts, squares, and settings in a folder."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmgrad_explain.composers.base import prepare_batch
from mmgrad_explain.composers.files import PROCESSOR_CONFIG, TOKENIZER_FILE, read_processor
from mmgrad_explain.images.placement import fit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import numpy.typing as npt
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
            texts: One text for each image. A text that is too long for the model is cut, with a note.
            targets: One target image for each reference image.

        Returns:
            ``pixel_values`` (B, 3, H, W) float32, ``input_ids`` and ``attention_mask`` (B, L) int64; with targets also
            ``target_pixel_values``; placements and notes.

        Raises:
            InputError: The numbers of images, texts and targets differ, or the images have different sizes for the
                model.
        """
        return prepare_batch(self, images, texts, targets)

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids and mask ``(B, L)`` int64. Notes on cuts and unknown words are appended to ``notices``."""


class FittedImages:
    """Adds images to a processor: each is fitted into a square and normalised.

    Attributes:
        image_size: Side of the model's input, pixels.
        mean: Subtracted from each channel in [0, 1]; one number, or one a channel.
        std: Each channel is divided by it; likewise.
        fit: ``"letterbox"`` or ``"crop"``.
        fill: Grey level of the letterbox bars, 0 to 255.
    """

    image_size: int
    mean: float | Sequence[float]
    std: float | Sequence[float]
    fit: str = "letterbox"
    fill: int = 127

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, S, S)`` float32, and their placements."""
        fitted = [self.fit_image(image) for image in images]
        pixels = self.normalise(np.stack([square for square, _ in fitted]))
        return pixels, [placement for _, placement in fitted]

    def fit_image(self, image: Image.Image) -> tuple[npt.NDArray[np.uint8], Placement]:
        """Fit an image into the model's square, ``(S, S, 3)`` uint8, for training; not yet normalised."""
        fitted, placement = fit(image, self.image_size, mode=self.fit, fill=(self.fill,) * 3)  # type: ignore[arg-type]
        return np.asarray(fitted), placement

    def normalise(self, images: np.ndarray) -> Tensor:
        """Normalise squares: ``(B, S, S, 3)`` uint8 to ``(B, 3, S, S)`` float32."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return ((torch.from_numpy(images).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


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
            InputError: A file is missing or cannot be read.
        """
        return read_processor(Path(folder), cls)
