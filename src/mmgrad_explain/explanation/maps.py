"""Maps, what they are maps of, and where they came from: the fields of an explanation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.fusion import resize_maps

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.explanation.map_check import MapCheck
    from mmgrad_explain.explanation.words import Word
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note


@dataclass(frozen=True, eq=False, repr=False)
class ExplainedMaps:
    """Where a model looked, for each sample of a batch, on the grid of the target layer.

    Attributes:
        calls: The maps of each call of the target layer, (B, h, w) float32, at least 0. Where the model takes several
            images, the reference's maps come first, then the target's.
        score: (B,) float32, the values of the score that was explained.
        score_name: Name of the score.
        method: Name of the method.
        fuse: How the maps of several layers were fused.
        layers: Layer name to its own maps, one a call, each on its own grid.
        signed: The same before negative values were cut off.
        layouts: Layer name to the layout of its output, one a call.
        flat: (B,) bool, the map has the same value everywhere and says nothing.
        clipped: (B,) bool, the whole map was negative and was cut off.
        notes: What a reader should know, and of which samples; :meth:`notes_of` gives those of one sample.
        input_size: (H, W) in pixels of the model's input, if known; of the first image if there are several.
        versions: Versions of the package, torch and Python.
        model: Name of the model.
        model_choice: Why this model answers, where it was chosen among the bundled ones.
        texts: The text of each sample.
        images: The original images.
        placements: Where each image lies in the model's input.
        targets: The original target images.
        target_placements: Where each target image lies in the model's input.
        words: What each word of each text contributes to the score, where they are wanted (``words=``).
        words_by: How the values of each text's words were measured: ``"leave-one-out"`` or ``"gradient"``.
        answers: The answer whose likelihood each score is, where the model answers in words.
        image_names: Names of the model's input images, in the order of its parameters, where they are known.
        image_sizes: (H, W) in pixels of each input image.
        image_of_calls: For each of ``calls``, the index of the input image that the maps are of; empty where unknown.
        checks: How far maps can be trusted, of those that were checked; see :meth:`~.result.Explanation.check`.
        source: What made the explanation, to run the model again for a check. It holds the model and its inputs, which
            stay in memory as long as the explanation does; ``dataclasses.replace(explanation, source=None)`` lets go of
            them. It is neither saved nor pickled.
    """

    calls: tuple[Tensor, ...]
    score: Tensor
    score_name: str
    method: str
    layers: dict[str, list[Tensor]]
    signed: dict[str, list[Tensor]]
    layouts: dict[str, tuple[str, ...]]
    flat: Tensor
    clipped: Tensor
    fuse: str = "mean"
    notes: tuple[Note, ...] = ()
    input_size: tuple[int, int] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    model: str = ""
    model_choice: str = ""
    texts: tuple[str, ...] | None = None
    images: tuple[Image.Image, ...] | None = None
    placements: tuple[Placement, ...] | None = None
    targets: tuple[Image.Image, ...] | None = None
    target_placements: tuple[Placement, ...] | None = None
    words: tuple[tuple[Word, ...], ...] | None = None
    words_by: tuple[str, ...] = ()
    answers: tuple[str, ...] | None = None
    image_names: tuple[str, ...] = ()
    image_sizes: tuple[tuple[int, int], ...] = ()
    image_of_calls: tuple[int, ...] = ()
    checks: tuple[MapCheck, ...] = ()
    source: Any = None

    @property
    def maps(self) -> Tensor:
        """(B, h, w) float32, at least 0: the maps of the first image that the layer depends on."""
        return self.calls[0]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Dotted names of the target layers."""
        return tuple(self.layers)

    @property
    def grids(self) -> dict[str, tuple[int, int]]:
        """Layer name to the (h, w) of its own maps."""
        return {name: (calls[0].shape[1], calls[0].shape[2]) for name, calls in self.layers.items()}

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.maps.shape))
        calls = f", {len(self.calls)} calls" if len(self.calls) > 1 else ""
        names = [f"sample {index}" for index in range(len(self))]
        notes = "".join(f"; note: {note.text_with_names(names)}" for note in self.notes)
        of = f" of {self.image_names[self.image_of_calls[0]]}" if len(self.image_names) > 1 else ""
        layers = ", ".join(self.layers)
        return f"{type(self).__name__}({shape}{of}{calls}; {self.method} of {self.score_name} at {layers}{notes})"

    def notes_of(self, index: int = 0) -> tuple[Note, ...]:
        """Return the notes about one sample.

        Raises:
            InputError: no such sample.
        """
        check_index(index, len(self))
        return tuple(note for note in self.notes if note.is_about(index % len(self)))

    def check_of(self, index: int = 0, *, target: bool = False) -> MapCheck | None:
        """Return what was found when the map of a sample was checked; None if it was not.

        Raises:
            InputError: no such sample.
        """
        check_index(index, len(self))
        return next((one for one in self.checks if (one.sample, one.target) == (index % len(self), target)), None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "source": None}

    def to(self, device: torch.device | str) -> Self:
        """Return the same explanation with all tensors on ``device``."""

        def move(layers: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
            return {name: [maps.to(device) for maps in calls] for name, calls in layers.items()}

        return replace(
            self,
            calls=tuple(maps.to(device) for maps in self.calls),
            score=self.score.to(device),
            layers=move(self.layers),
            signed=move(self.signed),
            flat=self.flat.to(device),
            clipped=self.clipped.to(device),
        )

    def resize(self, size: tuple[int, int] | int) -> Tensor:
        """Resize the maps bilinearly.

        Args:
            size: (H, W), or the side of a square.

        Returns:
            (B, H, W) float32.
        """
        return resize_maps(self.maps, (size, size) if isinstance(size, int) else (size[0], size[1]))


def check_index(index: int, count: int) -> None:
    """Check the number of a sample; negative ones count from the end.

    Args:
        index: Of the sample.
        count: How many samples there are.

    Raises:
        TypeError: ``index`` is not a whole number.
        InputError: no such sample.
    """
    if not hasattr(index, "__index__"):
        raise TypeError(
            f"index: the first argument is the number of a sample, not {type(index).__name__}; pass an image as image="
        )
    if not -count <= index < count:
        raise InputError(f"index must be below {count}, the number of samples, not {index}")
