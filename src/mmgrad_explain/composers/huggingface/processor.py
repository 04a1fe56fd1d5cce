"""Prepare images and texts by a model's own processor of transformers, and keep the way back to the pixels."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain._system.user_files import quote
from mmgrad_explain.composers.batch_processor import BatchProcessor
from mmgrad_explain.composers.huggingface.loading import first_line
from mmgrad_explain.composers.square_images import SquareImages
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import SETTINGS, check_geometry, name_crop_edge, place
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement

IMAGE_FILES = (SETTINGS, "processor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip

_TOKENIZING = threading.Lock()


@contextmanager
def tokenizing(tokenizer: Any) -> Iterator[None]:
    """Use a tokenizer of transformers inside the block, one thread at a time, and restore its state afterwards.

    It sets the padding and truncation of its backend at each call.
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


def check_end_token(model: Any, tokenizer: Any) -> None:
    """Check that texts have the end token that the text tower pools; without it the tower pools the first token.

    Args:
        model: Of transformers. A text tower without an end token passes, and one with an old config (id 2).
        tokenizer: For it, of transformers or of tokenizers.

    Raises:
        InputError: If the tokenizer never gives the end token of the config.
    """
    end = getattr(getattr(model, "text_model", None), "eos_token_id", 2)
    if end == 2:  # the tower takes the highest id of the text
        return
    with tokenizing(tokenizer):
        ids = list(tokenizer("a")["input_ids"]) if callable(tokenizer) else list(tokenizer.encode("a").ids)
    if end not in ids:
        raise InputError(
            f"text_config.eos_token_id is {quote(end)} in the model's config, and the tokenizer ends no text with it "
            f"('a' is {quote(ids)}): set it to the tokenizer's end token"
        )


class HuggingFaceProcessor(BatchProcessor, SquareImages):
    """A model's own image processor and tokenizer.

    The image processor makes the pixels. The placement is computed from its settings: padding to a square (LLaVA's);
    a resize to a height and width, of the shortest edge or into a frame (ViLT's and BridgeTower's to whole patches);
    then a crop of the centre, or padding below and to the right.

    Args:
        image_processor: Of transformers.
        tokenizer: Of transformers.
        max_tokens: Longest text, in tokens with the special ones.
        fixed_length: Whether each text is padded to ``max_tokens``, instead of the longest text of the batch.

    Raises:
        InputError: If the geometry of the image processor is not known, or the tokenizer cannot pad.
    """

    def __init__(self, image_processor: Any, tokenizer: Any, max_tokens: int, *, fixed_length: bool = False) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.fixed_length = fixed_length
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        name_crop_edge(image_processor)
        if tokenizer.pad_token is None:
            raise InputError("the tokenizer has no padding token: name one as pad_token in tokenizer_config.json")
        self._check_geometry()

    def _check_geometry(self) -> None:
        check_geometry(self.image_processor)

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements.

        Raises:
            InputError: If they have different sizes for the model, or an image is too long and narrow.
        """
        placements = [place(self.image_processor, (image.height, image.width)) for image in images]
        check_one_size(placements)
        pixels = self.image_processor(images=list(images), return_tensors="pt")["pixel_values"].float()
        if tuple(pixels.shape[2:]) != placements[0].input:
            raise InputError(
                f"the image processor {type(self.image_processor).__name__} gives images of "
                f"{' x '.join(map(str, pixels.shape[2:]))} pixels, its settings give "
                f"{' x '.join(map(str, placements[0].input))}: where they lie on the original is not known"
            )
        return pixels, placements

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids and mask ``(B, L)`` int64, the mask of an empty text all 0. Cuts add to ``notices``."""
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
        has_words = torch.tensor([[bool(text.strip())] for text in texts])
        return encoded["input_ids"], encoded["attention_mask"] * has_words

    @classmethod
    def from_pretrained(cls, folder: Path, positions: int, *, fixed_length: bool) -> Self:
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
            raise InputError(f"{folder} has no image processor: it needs {IMAGE_FILES[0]} (or {IMAGE_FILES[1]})")
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            raise InputError(f"{folder} has no tokenizer: it needs one of {', '.join(TOKENIZER_FILES)}")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        part = "image processor"
        try:
            images = AutoImageProcessor.from_pretrained(folder, **options)
            part = "tokenizer"
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
            raise InputError(f"the {part} in {folder} cannot be read: {first_line(error)}") from error
        return cls(images, tokenizer, min(positions, tokenizer.model_max_length), fixed_length=fixed_length)


def check_one_size(placements: Sequence[Placement]) -> None:
    """Check that images have one size for the model.

    Raises:
        InputError: If they have several.
    """
    sizes = dict.fromkeys(placement.input for placement in placements)
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sizes)
        raise InputError(
            f"the images have different sizes for this model ({listed}): explain them one at a time, a target with an "
            "image of its own shape"
        )
