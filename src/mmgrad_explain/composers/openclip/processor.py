"""Prepare images and texts for a model of open_clip."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.batch_processor import BatchProcessor
from mmgrad_explain.composers.huggingface.loading import first_line
from mmgrad_explain.composers.huggingface.processor import TOKENIZER_FILES, tokenizing
from mmgrad_explain.composers.openclip.folders import local_source
from mmgrad_explain.composers.square_images import SquareImages
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image
    from tokenizers import Tokenizer
    from torch import Tensor

    from mmgrad_explain.composers.towers.framing import Framing
    from mmgrad_explain.images.placement import Placement


class OpenClipProcessor(BatchProcessor, SquareImages):
    """open_clip's own transform and tokenizer.

    Args:
        framing: The transform of images.
        own_tokenizer: ``SimpleTokenizer`` or ``HFTokenizer`` of open_clip.
    """

    def __init__(self, framing: Framing, own_tokenizer: Any) -> None:
        self.framing = framing
        self.own_tokenizer = own_tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """A tokenizer that gives each token's place in the text."""
        own = self.own_tokenizer
        return fast_tokenizer(own) if is_simple(own) else own.tokenizer

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """Prepare RGB images: ``(B, 3, H, W)`` float32, and their placements."""
        return self.framing(images)

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Prepare texts: ids ``(B, L)`` int64, L the model's length, and their mask. Notes on cuts are appended.

        The model reads the ids alone; the mask of an empty text is all 0.
        """
        length = int(self.own_tokenizer.context_length)
        with tokenizing(getattr(self.own_tokenizer, "tokenizer", None)):
            ids = self.own_tokenizer(list(texts))
            counts = [self._count(text) for text in texts]
        mask = torch.zeros_like(ids)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            if notices is not None and count > length:
                cut = f"the text has {count} tokens, the model takes {length}: the rest was cut"
                notices.append(Note("cut-text", cut, (row,)))
            mask[row, :count] = bool(text.strip())
        return ids, mask

    def save_tokenizer(self, folder: Path) -> None:
        """Write a tokenizer of transformers into a folder; open_clip's own needs no files."""
        if not is_simple(self.own_tokenizer):
            self.own_tokenizer.tokenizer.save_pretrained(folder)

    def _count(self, text: str) -> int:
        own = self.own_tokenizer
        if is_simple(own):
            return len(own.encode(text)) + 2
        return len(own.tokenizer(own.clean_fn(text), verbose=False)["input_ids"])


def is_simple(tokenizer: Any) -> bool:
    """Return whether a tokenizer of open_clip is its own ``SimpleTokenizer``."""
    return hasattr(tokenizer, "bpe_ranks")


def transform_and_tokenizer(processor: Any, model: Any) -> tuple[Any, Any]:
    """Find the transform and the tokenizer in what a user gave for a model of open_clip.

    Args:
        processor: The two, in any order.
        model: The model, for its longest text.

    Raises:
        InputError: One is missing, or the tokenizer gives more tokens than the model takes.
    """
    both = "(preprocess_val, open_clip.get_tokenizer(...))"
    parts = list(processor) if isinstance(processor, tuple | list) else [processor]
    parts = [part for part in parts if part is not None]
    tokenizers = [part for part in parts if _is_tokenizer(part)]
    transforms = [part for part in parts if part not in tokenizers and callable(part)]
    missing = "the tokenizer is" if transforms and not tokenizers else "the transform is" if tokenizers else "both are"
    if len(tokenizers) != 1 or len(transforms) != 1:
        what = f"{missing} missing" if len(parts) < 2 else f"got {len(parts)} things"
        raise InputError(
            f"processor: a model of open_clip needs its transform for evaluation and its tokenizer, {what}: give "
            f"processor={both}"
        )
    (transform,), (tokenizer,) = transforms, tokenizers
    longest = int(getattr(model, "context_length", None) or getattr(model.text, "context_length", 0) or 0)
    if not hasattr(tokenizer, "context_length"):  # open_clip.tokenize, a function
        from open_clip.tokenizer import SimpleTokenizer

        tokenizer = SimpleTokenizer(context_length=longest)
    if longest and int(tokenizer.context_length) > longest:
        raise InputError(
            f"processor: the tokenizer gives {tokenizer.context_length} tokens, the model takes {longest}: take the "
            "model's own, open_clip.get_tokenizer(name)"
        )
    return transform, tokenizer


def open_clip_tokenizer(text_config: Mapping[str, Any], folder: Path) -> Any:
    """Make the tokenizer that open_clip uses for a text tower.

    Args:
        text_config: The model's ``text_cfg``.
        folder: Of the model. A tokenizer of transformers is searched in it, then in the folder that the config names,
            from the working directory or from ``folder``, then on the hub.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    length = int(text_config.get("context_length") or DEFAULT_CONTEXT_LENGTH)
    options = dict(text_config.get("tokenizer_kwargs") or {})
    name = text_config.get("hf_tokenizer_name")
    here = any((folder / file).is_file() for file in TOKENIZER_FILES)
    try:
        if not name:
            return SimpleTokenizer(context_length=length, **options)
        source = str(folder if here else local_source(str(name), folder) or _fetch_tokenizer(str(name)))
        options.pop("trust_remote_code", None)
        return HFTokenizer(source, length, tokenizer_mode=text_config.get("tokenizer_mode"), **options)
    except InputError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
        raise InputError(f"the tokenizer of {folder} cannot be read: {first_line(error)}") from error


def _is_tokenizer(part: Any) -> bool:
    return hasattr(part, "context_length") or getattr(part, "__name__", "") == "tokenize"


def _fetch_tokenizer(name: str) -> str:
    from mmgrad_explain.composers.load import fetch

    return str(fetch(name, ["*.json", "*.txt", "*.model"], "put its files into the model's folder"))


def fast_tokenizer(simple: Any) -> Tokenizer:
    """Make a tokenizer of the tokenizers library with the same tokens; it also gives each token's place in the text.

    Args:
        simple: open_clip's ``SimpleTokenizer``: byte-pair encoding of lower-case words (arXiv 2103.00020).
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    merges = [pair for pair in simple.bpe_ranks if len(pair) == 2]
    tokenizer = Tokenizer(models.BPE(simple.encoder, merges, end_of_word_suffix="</w>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    word = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(word, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = simple.decoder[simple.sot_token_id], simple.decoder[simple.eot_token_id]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, simple.sot_token_id), (end, simple.eot_token_id)]
    )
    return tokenizer
