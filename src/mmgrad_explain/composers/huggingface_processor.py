"""Pictures and texts to tensors by a model's own processor in transformers, with the way back to the pixels."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.base import prepare_batch
from mmgrad_explain.composers.square_pictures import SquarePictures
from mmgrad_explain.errors import InputError
from mmgrad_explain.images import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs

IMAGE_FILES = ("preprocessor_config.json", "processor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip

_SQUARED = "LlavaImageProcessor"
_PADDED_TO_EACH_OTHER = ("ViltImageProcessor", "BridgeTowerImageProcessor")  # these resize to multiples of size_divisor
_RESIZES = (
    {"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"max_height", "max_width"},
)  # fmt: skip
_LONGEST = 1333 / 800  # of the shortest edge, in their resize

TOKENIZING = threading.Lock()
"""Held while a tokenizer works: it sets its padding and truncation anew each time, so that threads take turns."""


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
        _name_the_edge(image_processor)
        if tokenizer.pad_token is None:
            raise InputError("the tokenizer has no padding token: name one as pad_token in tokenizer_config.json")
        self._check_geometry()

    def _check_geometry(self) -> None:
        own = self.image_processor
        unknown = [name for name in ("do_image_splitting",) if getattr(own, name, None)]
        if getattr(own, "do_pad", None) and not _padding_is_known(own):
            unknown.append("do_pad")
        size, crop = _sides(own, "size"), _crop(own)
        if getattr(own, "do_resize", None) and {*size} not in _RESIZES:
            unknown.append(f"a resize to {size}")
        if getattr(own, "do_center_crop", None) and {*crop} != {"height", "width"}:
            unknown.append(f"a crop of {crop}")
        if unknown:
            raise InputError(
                f"the image processor {type(own).__name__} uses {' and '.join(unknown)}, which cannot be undone on "
                "the map: supported are resizes to height and width, of the shortest edge or into a frame, a crop of "
                "the centre, and padding to a square first or to a pad_size in the place of a crop"
            )

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
        placements = [self.place((image.height, image.width)) for image in images]
        check_one_size(placements)
        pixels = self.image_processor(images=list(images), return_tensors="pt")["pixel_values"].float()
        if tuple(pixels.shape[2:]) != placements[0].input:
            raise InputError(
                f"the image processor {type(self.image_processor).__name__} gives pictures of "
                f"{' x '.join(map(str, pixels.shape[2:]))} pixels where its settings say "
                f"{' x '.join(map(str, placements[0].input))}: where they lie on the original cannot be told"
            )
        return pixels, placements

    def place(self, original: tuple[int, int]) -> Placement:
        """Where a picture of a (height, width) lies in the model's input.

        Raises:
            InputError: If it is too long and narrow.
        """
        own, (rows, columns), offset = self.image_processor, original, (0.0, 0.0)
        if getattr(own, "do_pad", None) and _kind(own) == _SQUARED:
            side = max(original)
            rows, columns, offset = side, side, (float((side - rows) // 2), float((side - columns) // 2))
        before = rows, columns
        if getattr(own, "do_resize", None):
            rows, columns = _resized(own, before)
        stretch = rows / before[0], columns / before[1]
        offset = offset[0] * stretch[0], offset[1] * stretch[1]
        if getattr(own, "do_center_crop", None):
            crop = _crop(own)
            height, width = crop["height"], crop["width"]
            offset = offset[0] + _margin(own, rows, height), offset[1] + _margin(own, columns, width)
            rows, columns = height, width
        if getattr(own, "do_pad", None) and (pad := _sides(own, "pad_size")):
            rows, columns = pad["height"], pad["width"]
        return Placement(original, (rows, columns), stretch, offset)

    def encode_texts(self, texts: Sequence[str], notices: list[str] | None = None) -> tuple[Tensor, Tensor]:
        """Texts to ids and mask ``(B, L)`` int64; what was cut is added to ``notices``. An empty text has no mask."""
        with TOKENIZING:
            counts = [len(self.tokenizer(text, verbose=False)["input_ids"]) for text in texts]
            encoded = self.tokenizer(
                list(texts),
                padding="max_length" if self.fixed_length else "longest",
                truncation=True,
                max_length=self.max_tokens,
                return_attention_mask=True,
                return_tensors="pt",
            )
        for count in counts:
            if notices is not None and count > self.max_tokens:
                notices.append(f"the text has {count} tokens, the model takes {self.max_tokens}: the rest was cut")
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


def _kind(image_processor: Any) -> str:
    """The name of its class without the library that it computes with."""
    return type(image_processor).__name__.removesuffix("Fast").removesuffix("Pil")


def _crop(image_processor: Any) -> dict[str, int]:
    """The sides of the crop; BridgeTower names its square by one edge, by default that of the resize."""
    crop = _sides(image_processor, "crop_size")
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER:
        return crop
    edge = {**_sides(image_processor, "size"), **crop}.get("shortest_edge", 0)
    return {"height": edge, "width": edge}


def _name_the_edge(image_processor: Any) -> None:
    """Have a crop named by one edge where the processor reads nothing else; some published settings give a number."""
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER or not getattr(image_processor, "do_center_crop", None):
        return
    crop = _sides(image_processor, "crop_size")
    edges = {*crop.values()}
    if len(edges) > 1:
        raise InputError(
            f"{IMAGE_FILES[0]}: {_kind(image_processor)} crops to a square, not to {crop}: write "
            f'"crop_size": {{"shortest_edge": {min(edges)}}}'
        )
    if edges:
        image_processor.crop_size = {"shortest_edge": edges.pop()}


def _margin(image_processor: Any, side: int, crop: int) -> int:
    """What a crop of the centre leaves in front: less than 0 where it cuts, padding where the picture is smaller.

    Of an odd number of pixels the smaller half is in front, but for the processors that compute with NumPy.
    """
    if side >= crop:
        return -((side - crop) // 2)
    bases = {base.__name__ for base in type(image_processor).__mro__}
    return (crop - side + (not bases & {"TorchvisionBackend", "BaseImageProcessorFast"})) // 2


def _padding_is_known(image_processor: Any) -> bool:
    """Whether it pads to a square first, to the largest of a batch (all are of one size here), or to a size last."""
    if _kind(image_processor) in {_SQUARED, *_PADDED_TO_EACH_OTHER}:
        return True
    if getattr(image_processor, "do_center_crop", None):
        return False
    pad = getattr(type(image_processor), "pad", None)
    own = getattr(pad, "__module__", "transformers.models").startswith("transformers.models")
    return not own and {*_sides(image_processor, "pad_size")} == {"height", "width"}


def _resized(image_processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """What a picture of a (height, width) is resized to."""
    to = _sides(image_processor, "size")
    if "height" in to:
        return to["height"], to["width"]
    if "max_height" in to:
        from transformers.image_utils import get_image_size_for_max_height_width

        return tuple(get_image_size_for_max_height_width(size, to["max_height"], to["max_width"]))
    if "longest_edge" in to:
        from transformers.image_transforms import get_size_with_aspect_ratio

        return tuple(get_size_with_aspect_ratio(size, to["shortest_edge"], to["longest_edge"]))
    short, edge = min(size), to["shortest_edge"]
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER:
        rows, columns = (edge if side == short else int(edge * side / short) for side in size)
        return rows, columns
    scale = edge / short
    scale *= min(1.0, int(_LONGEST * edge) / (max(size) * scale))
    divisor = int(image_processor.size_divisor)
    rows, columns = (int(side * scale + 0.5) // divisor * divisor for side in size)
    if min(rows, columns) == 0:
        raise InputError(f"a picture of {size[0]} x {size[1]} pixels is too long and narrow for this model: crop it")
    return rows, columns


def check_one_size(placements: Sequence[Placement]) -> None:
    """Raise InputError where pictures come to the model in different sizes."""
    sizes = dict.fromkeys(placement.input for placement in placements)
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sizes)
        raise InputError(
            f"the pictures have different sizes for this model ({listed}): explain them one at a time, a target with a "
            "picture of its own shape"
        )


def _sides(image_processor: Any, name: str) -> dict[str, int]:
    """A size setting by the names of its sides; empty where there is none. A number is that of the shortest edge."""
    value = getattr(image_processor, name, None)
    if isinstance(value, int):
        return {"shortest_edge": value}
    return {key: int(side) for key, side in dict(value or {}).items() if side is not None}
