"""Pictures and texts to tensors for a model of open_clip."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.base import prepare_batch
from mmgrad_explain.composers.huggingface.processor import TOKENIZER_FILES, tokenizing
from mmgrad_explain.composers.openclip.folders import local_source
from mmgrad_explain.composers.square_images import SquarePictures
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image
    from tokenizers import Tokenizer
    from torch import Tensor

    from mmgrad_explain.composers.base import ComposerInputs
    from mmgrad_explain.composers.towers.framing import Framing
    from mmgrad_explain.images.placement import Placement


class OpenClipProcessor(SquarePictures):
    """open_clip's own transform and tokenizer.

    Args:
        framing: Of pictures.
        own_tokenizer: ``SimpleTokenizer`` or ``HFTokenizer`` of open_clip.
    """

    def __init__(self, framing: Framing, own_tokenizer: Any) -> None:
        self.framing = framing
        self.own_tokenizer = own_tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """What tells the words of a text apart."""
        simple = hasattr(self.own_tokenizer, "bpe_ranks")
        return fast_tokenizer(self.own_tokenizer) if simple else self.own_tokenizer.tokenizer

    def __call__(
        self, images: Sequence[Image.Image], texts: Sequence[str], targets: Sequence[Image.Image] | None = None
    ) -> ComposerInputs:
        """Prepare a batch.

        Args:
            images: Pictures, RGB.
            texts: One text a picture; longer ones are cut, with a notice.
            targets: Target pictures, one a picture.

        Raises:
            InputError: If the numbers differ.
        """
        return prepare_batch(self, images, texts, targets)

    def encode_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, list[Placement]]:
        """RGB pictures to ``(B, 3, H, W)`` float32 and their placements."""
        return self.framing(images)

    def encode_texts(self, texts: Sequence[str], notices: list[Note] | None = None) -> tuple[Tensor, Tensor]:
        """Texts to ids ``(B, L)`` int64, L the model's length, and their mask; what was cut is added to ``notices``.

        The mask is not for the model, which reads the ids alone; an empty text has none.
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
        """Write a tokenizer of transformers into a folder; open_clip's own comes with open_clip."""
        if not hasattr(self.own_tokenizer, "bpe_ranks"):
            self.own_tokenizer.tokenizer.save_pretrained(folder)

    def _count(self, text: str) -> int:
        own = self.own_tokenizer
        if hasattr(own, "bpe_ranks"):
            return len(own.encode(text)) + 2
        return len(own.tokenizer(own.clean_fn(text), verbose=False)["input_ids"])


def transform_and_tokenizer(processor: Any, model: Any) -> tuple[Any, Any]:
    """The transform and the tokenizer that were handed in for a model of open_clip.

    Args:
        processor: The two, in any order.
        model: For what it takes.

    Raises:
        InputError: If one is missing, or the tokenizer gives more tokens than the model takes.
    """
    both = "(preprocess_val, open_clip.get_tokenizer(...))"
    given = list(processor) if isinstance(processor, tuple | list) else [processor]
    given = [one for one in given if one is not None]
    words = [one for one in given if hasattr(one, "context_length") or getattr(one, "__name__", "") == "tokenize"]
    transforms = [one for one in given if one not in words and callable(one)]
    missing = "the tokenizer is" if transforms and not words else "the transform is" if words else "both are"
    if len(words) != 1 or len(transforms) != 1:
        what = f"{missing} missing" if len(given) < 2 else f"got {len(given)} things"
        raise InputError(
            f"processor: a model of open_clip needs its transform of evaluation and its tokenizer, {what}: give "
            f"processor={both}"
        )
    (transform,), (tokenizer,) = transforms, words
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
    """The tokenizer that open_clip takes for a text tower.

    Args:
        text_config: The model's ``text_cfg``.
        folder: Of the model. A tokenizer of transformers is looked for in it, then in a folder of the config's name,
            from where one is or from ``folder``, then on the hub.

    Raises:
        InputError: If there is none, or it cannot be read.
    """
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    length = int(text_config.get("context_length") or DEFAULT_CONTEXT_LENGTH)
    options = dict(text_config.get("tokenizer_kwargs") or {})
    name = text_config.get("hf_tokenizer_name")
    here = any((folder / file).is_file() for file in TOKENIZER_FILES)
    try:
        if not name:
            return SimpleTokenizer(context_length=length, **options)
        source = str(folder if here else local_source(str(name), folder) or _fetched(str(name)))
        options.pop("trust_remote_code", None)
        return HFTokenizer(source, length, tokenizer_mode=text_config.get("tokenizer_mode"), **options)
    except InputError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot parse
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the tokenizer of {folder} cannot be read: {reason}") from error


def _fetched(name: str) -> str:
    from mmgrad_explain.composers.load import fetch

    return str(fetch(name, ["*.json", "*.txt", "*.model"], "put its files into the model's folder"))


def fast_tokenizer(simple: Any) -> Tokenizer:
    """The same tokens by the tokenizers library, which also says where in the text each one stands.

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
