"""Options of composed-retrieval sets as a source of training data, and how their captions become texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgrad_explain.data.cir.dataset import join_captions
from mmgrad_explain.data.cir.formats import FORMATS
from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from mmgrad_explain.data.cir.dataset import CirTriplet

CAPTIONS = ("joined", "orders", "forms", "each")
"""What the captions of a query become."""
MISSING = ("refuse", "leave-out")


@dataclass(frozen=True)
class CirOptions:
    """A set of composed image retrieval, as :func:`~mmgrad_explain.data.cir.formats.read_cir` reads it.

    Attributes:
        set: Its format: a key of :data:`~mmgrad_explain.data.cir.formats.FORMATS`.
        folder: Its folder.
        split: The split to train on. A ``jsonl`` set without this split is taken whole.
        categories: Only these categories, where the format has any.
        masks: Where maps should be bright: names of :data:`~mmgrad_explain.data.masks.settings.MASKS`, the first that
            finds something counts. Masks that are not on disk yet are made before the training.
        masks_folder: Where they are kept; null takes ``.mmgrad-masks`` in the set's folder.
        mask_size: Rows and columns of a mask.
        mask_least: Least probability or score of what is marked.
        mask_words: How masks find the things that a text names: ``rule``, ``spacy`` or ``spacy:MODEL``.
        captions: Several captions of a query become one text: ``joined`` in the file's order, as it is evaluated;
            ``orders`` in an order drawn anew; ``forms`` one of four, as CLIP4Cir draws them (both orders, each alone);
            ``each`` one caption alone, drawn anew.
        missing: What to do about queries whose images or targets are missing: ``refuse``, or ``leave-out`` with a
            warning that counts them.
        weight: How often the source is drawn, relative to the others.
        pictures: Reference images in a batch.
        edits: Largest number of queries of each reference in a batch; they are hard negatives of each other.
        flip: How often images are mirrored, where no text names left or right.
        holdout: Share of the references that are kept from training where the set has no published split to be held
            out; such an image is no target of training either.
    """

    set: str = ""
    folder: str = ""
    split: str = "train"
    categories: tuple[str, ...] = ()
    masks: tuple[str, ...] = ("given",)
    masks_folder: str | None = None
    mask_size: int = 64
    mask_least: float = 0.3
    mask_words: str = "rule"
    captions: str = "orders"
    missing: str = "refuse"
    weight: float = 1.0
    pictures: int = 32
    edits: int = 2
    flip: float = 0.5
    holdout: float = 0.1

    def __post_init__(self) -> None:
        if self.set and self.set not in FORMATS:
            hint = did_you_mean(self.set, FORMATS)
            raise InputError(f"cir: set must be one of {', '.join(FORMATS)}, not {self.set!r}: {hint}".rstrip(": "))
        for name, value, known in (("captions", self.captions, CAPTIONS), ("missing", self.missing, MISSING)):
            if value not in known:
                raise InputError(f"cir: {name} must be one of {', '.join(known)}, not {value!r}")
        if self.pictures < 1 or self.edits < 1:
            raise InputError("cir: pictures and edits must be at least 1")
        if not 0 <= self.holdout < 1 or not 0 <= self.flip <= 1:
            raise InputError("cir: holdout must be in [0, 1) and flip in [0, 1]")
        self.settings  # noqa: B018 - refuses what makes no sense

    @property
    def settings(self) -> MaskSettings:
        """How masks are made.

        Raises:
            InputError: The options make no sense.
        """
        return MaskSettings(self.masks, self.mask_size, self.mask_least, words=self.mask_words)

    @property
    def knows_paraphrases(self) -> bool:
        """Whether batches can have paraphrases: of several captions a query, or given by the records."""
        return self.set in {"fashioniq", "jsonl"}

    @property
    def knows_regions(self) -> bool:
        """Whether masks are made, or given: of the formats, only ``jsonl`` gives any."""
        return any(maker != "given" or self.set == "jsonl" for maker in self.settings.makers)

    @property
    def compares_maps(self) -> bool:
        """Whether ``self`` is among the masks."""
        return self.settings.compares_maps


def draw_text(query: CirTriplet, captions: str, rng: np.random.Generator) -> tuple[str, str, tuple[int, ...]]:
    """Draw the text of a query.

    Args:
        query: The query, with at least one caption that is not empty.
        captions: One of :data:`CAPTIONS`.
        rng: Draws the order, and the paraphrase where there are several.

    Returns:
        The text; another one that asks for the same, empty where there is none: one that the file gives, else the other
        order, or for a caption alone the other caption; and the places of the text's captions among those that are not
        empty.
    """
    there = [caption for caption in query.captions if caption.strip()]
    order = list(range(len(there)))
    form = int(rng.integers(4))
    if captions == "orders" and form % 2:
        order.reverse()
    elif captions == "forms" and len(order) > 1:
        order = [order, order[::-1], order[:1], order[-1:]][form]
    elif captions == "each":
        order = [int(rng.integers(len(there)))]
    other = order[::-1] if len(order) > 1 else [i for i in range(len(there)) if i not in order][:1]
    given = int(rng.integers(len(query.paraphrases))) if query.paraphrases else -1
    again = query.paraphrases[given] if given >= 0 else join_captions([there[i] for i in other])
    text = join_captions([there[i] for i in order])
    return text, "" if again == text else again, tuple(order)
