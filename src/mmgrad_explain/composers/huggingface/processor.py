"""Pictures and texts to tensors by a model's own processor in transformers, with the way back to the pixels."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.reading import shown
from mmgrad_explain.composers.base import prepare_batch
from mmgrad_explain.composers.square_images import SquarePictures
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.processor_geometry import SETTINGS, check_geometry, name_the_edge, place
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs

IMAGE_FILES = (SETTINGS, "processor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip

_TOKENIZING = threading.Lock()


@contextmanager
def tokenizing(tokenizer: Any) -> Iterator[None]:
    """Let a tokenizer of transformers work inside the block, and find it as it was afterwards.

    It sets the padding and truncation of the library below it anew each time, so that threads take turns.
    """
    backend = getattr(tokenizer, "_tokenizer", None)
    with _TOKENIZING:
        before = getattr(backend, "padding", None), getattr(backend, "truncation", None)
        try:
            yield
        finally:
            if backend is not None and (backend.padding, backend.truncation) != before:
                backend.no_padding() if before[0] is None else backend.enable_padding(**before[0])
                backend.no_truncation() if before[1] is None else backend.enable_truncation(**before[1])


def check_end(model: Any, tokenizer: Any) -> None:
    """Refuse a text tower that looks for an end token which no text has: it would read the first token instead.

    Args:
        model: Of transformers; one whose text tower looks for no end token passes, and one of the old configs (id 2).
        tokenizer: For it, of transformers or of tokenizers.

    Raises:
        InputError: The tokenizer never gives the end token of the config.
    """
    end = getattr(getattr(model, "text_model", None), "eos_token_id", 2)
    if end == 2:  # the highest id of the text is taken then
        return
    with tokenizing(tokenizer):
        ids = list(tokenizer("a")["input_ids"]) if callable(tokenizer) else list(tokenizer.encode("a").ids)
    if end not in ids:
        raise InputError(
            f"text_config.eos_token_id is {shown(end)} in the model's config, and the tokenizer ends no text with it "
            f"('a' is {shown(ids)}): set it to the tokenizer's end token"
        )


class HuggingFaceProcessor(SquarePictures):
    """A model's own image processor and tokenizer.

    The pixels are what the image processor gives. Where a picture lies in them is computed from the processor's own
    settings: padding to a square (LLaVA's), a resize to a height and width, of the shortest edge or into a frame
    (ViLT's and BridgeTower's to whole patches), then a crop of the centre or padding below and to the right.

    Args:
        image_processor: Of transformers.
        tokenizer: Of transformers.
        max_tokens: Longest text, special tokens included.
        fixed_length: Fill every text up to ``max_tokens``, else to the longest of the batch.

    Raises:
        InputError: If the image processor works in a way whose geometry is not known, or the tokenizer cannot pad.
    """

    def __init__(self, image_processor: Any, tokenizer: Any, max_tokens: int, *, fixed_length: bool = False) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.fixed_length = fixed_length
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        name_the_edge(image_processor)
        if tokenizer.pad_token is None:
            raise InputError("the tokenizer has no padding token: name one as pad_token in tokenizer_config.json")
        self._check_geometry()

    def _check_geometry(self) -> None:
        check_geometry(self.image_processor)

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch.

        Args:
            images: Pictures, RGB.
            texts: One text a picture; longer ones are cut, with a notice.
            targets: Target pictures, one a picture.

        Returns:
            ``pixel_values`` (B, 3, H, W) float32, ``input_ids`` and ``attention_mask`` (B, L) int64, with targets
            ``target_pixel_values`` too; placements; notices.

        Raises:
            InputError: If the numbers differ, or pictures come out of the processor in different sizes.
        """
        return prepare_batch(self, images, texts, targets)

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """RGB pictures to ``(B, 3, H, W)`` float32 and their placements.

        Raises:
            InputError: If they come out in different sizes, or a picture is too long and narrow.
        """
        placements = [place(self.image_processor, (image.height, image.width)) for image in images]
        check_one_size(placements)
        pixels = self.image_processor(images=list(images), return_tensors="pt")["pixel_values"].float()
        if tuple(pixels.shape[2:]) != placements[0].input:
            raise InputError(
                f"the image processor {type(self.image_processor).__name__} gives pictures of "
                f"{' x '.join(map(str, pixels.shape[2:]))} pixels where its settings say "
                f"{' x '.join(map(str, placements[0].input))}: where they lie on the original cannot be told"
            )
        return pixels, placements

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Texts to ids and mask ``(B, L)`` int64; what was cut is added to ``notices``. An empty text has no mask."""
        with tokenizing(self.tokenizer):
            counts = [len(self.tokenizer(text, verbose=False)["input_ids"]) for text in texts]
            encoded = self.tokenizer(
                list(texts),
                padding="max_length" if self.fixed_length else "longest",
                truncation=True,
                max_length=self.max_tokens,
                return_attention_mask=True,
                return_tensors="pt",
            )
        for index, count in enumerate(counts):
            if notices is not None and count > self.max_tokens:
                cut = f"the text has {count} tokens, the model takes {self.max_tokens}: the rest was cut"
                notices.append(Note("cut-text", cut, (index,)))
        worded = torch.tensor([[bool(text.strip())] for text in texts])
        return encoded["input_ids"], encoded["attention_mask"] * worded

    @classmethod
    def from_pretrained(cls, folder: Path, positions: int, *, fixed_length: bool) -> HuggingFaceProcessor:
        """Read a model folder's own processor; no code in it is run.

        Args:
            folder: The model folder.
            positions: How many tokens the text tower takes.
            fixed_length: As in the constructor.

        Raises:
            InputError: If a file is missing or cannot be read.
        """
        from transformers import AutoImageProcessor, AutoTokenizer

        if not any((folder / file).is_file() for file in IMAGE_FILES):
            raise InputError(f"{folder} says nothing about pictures: it needs {IMAGE_FILES[0]} (or {IMAGE_FILES[1]})")
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            raise InputError(f"{folder} has no tokenizer: it needs one of {', '.join(TOKENIZER_FILES)}")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        part = "image processor"
        try:
            images = AutoImageProcessor.from_pretrained(folder, **options)
            part = "tokenizer"
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"the {part} in {folder} cannot be read: {reason}") from error
        return cls(images, tokenizer, min(positions, tokenizer.model_max_length), fixed_length=fixed_length)


class PatchProcessor(HuggingFaceProcessor):
    """Of a model that gets its pictures cut into patches, as many as their shape asks for (NaFlex).

    The patches are put together again to the resized picture that they were cut from, so that they have places.
    """

    def _check_geometry(self) -> None:
        """Pictures are stretched to whole patches, nothing else."""

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """See :meth:`HuggingFaceProcessor.__call__`; all pictures, targets too, must come out in one size."""
        inputs = super().__call__(images, texts, targets)
        check_one_size([*inputs.placements, *(inputs.target_placements or [])])
        return inputs

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """RGB pictures to ``(B, 3, H, W)`` float32, H and W whole patches, and their placements.

        Raises:
            InputError: If they come out in different sizes.
        """
        side = int(self.image_processor.patch_size)
        cut = self.image_processor(images=list(images), return_tensors="pt")
        placements = []
        for image, (rows, columns) in zip(images, cut["spatial_shapes"].tolist(), strict=True):
            original, size = (image.height, image.width), (rows * side, columns * side)
            placements.append(Placement(original, size, (size[0] / image.height, size[1] / image.width), (0.0, 0.0)))
        check_one_size(placements)
        patches = cut["pixel_values"][:, : rows * columns].float().reshape(len(images), rows, columns, side, side, 3)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(len(images), 3, rows * side, columns * side), placements


def check_one_size(placements: Sequence[Placement]) -> None:
    """Raise InputError where pictures come to the model in different sizes."""
    sizes = dict.fromkeys(placement.input for placement in placements)
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sizes)
        raise InputError(
            f"the pictures have different sizes for this model ({listed}): explain them one at a time, a target with a "
            "picture of its own shape"
        )
