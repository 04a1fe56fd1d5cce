"""The result: maps, what they are maps of, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.drawing import draw_overlay
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.explanation.notebook import explanation_html, png_bytes, show_picture
from mmgrad_explain.explanation.placement import attach_images, heat_of
from mmgrad_explain.explanation.plain_words import describe
from mmgrad_explain.explanation.regions import Region, brightest_region
from mmgrad_explain.explanation.saving import manifest_of, save_folder, write_arrays, write_explanation
from mmgrad_explain.explanation.sides import call_of
from mmgrad_explain.explanation.sliders import interactive_overlay
from mmgrad_explain.images.tiles import NOTEBOOK

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from mmgrad_explain.explanation.words import Word
    from mmgrad_explain.images.placement import Placement
    from mmgrad_explain.notes import Note


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Where a model looked, for each sample of a batch.

    Attributes:
        calls: The maps of each call of the target layer, (B, h, w) float32, at least 0; where the model takes several
            pictures, in their order: the reference's first, then the target's.
        score: (B,) float32, what was explained.
        score_name: Name of the score.
        weighting: Name of the weighting.
        fuse: How several layers' maps were made one.
        layers: Layer name to its own maps, one a call, each on its own grid.
        signed: The same before negative values were cut off.
        layouts: Layer name to how its output was read, one a call.
        flat: (B,) bool, the map has one value everywhere and says nothing.
        clipped: (B,) bool, all of the map was negative and cut off.
        notes: What a reader should know, and of which samples; :meth:`notes_of` gives those of one.
        input_size: (H, W) in pixels of the model's input, where it is known; of the first picture, where it takes
            several.
        versions: Package, torch and Python.
        model: Name of the model.
        model_choice: Why that model answered, where it was chosen among the bundled ones.
        texts: The text of each sample.
        images: The original pictures.
        placements: How each picture lies in the model's input.
        targets: The original target pictures.
        target_placements: How each of these lies in the model's input.
        words: What each word of each text contributes to the score, where it was asked for (``words=``).
        answers: The answer that each score is of, where the model answers in words.
        pictures: Names of the model's input pictures, in the order of its parameters, where they are known.
        sizes: (H, W) in pixels of each of them.
        lies_on: Which of them each of ``calls`` lies on, from 0; empty where it is not known.
    """

    calls: tuple[Tensor, ...]
    score: Tensor
    score_name: str
    weighting: str
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
    answers: tuple[str, ...] | None = None
    pictures: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    lies_on: tuple[int, ...] = ()

    @property
    def maps(self) -> Tensor:
        """(B, h, w) float32, at least 0: the first picture's, or of the first one that the layer hangs on."""
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
        notes = "".join(f"; note: {note.named(names)}" for note in self.notes)
        of = f" of {self.pictures[self.lies_on[0]]}" if len(self.pictures) > 1 else ""
        return (
            f"Explanation({shape}{of}{calls}; {self.weighting} of {self.score_name} at {', '.join(self.layers)}{notes})"
        )

    def notes_of(self, index: int = 0) -> tuple[Note, ...]:
        """Give the notes that are about one sample.

        Raises:
            InputError: no such sample.
        """
        self._check(index)
        return tuple(note for note in self.notes if note.is_of(index % len(self)))

    def to(self, device: torch.device | str) -> Explanation:
        """Give the same explanation with all tensors on ``device``."""

        def moved(layers: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
            return {name: [one.to(device) for one in calls] for name, calls in layers.items()}

        return replace(
            self,
            calls=tuple(one.to(device) for one in self.calls),
            score=self.score.to(device),
            layers=moved(self.layers),
            signed=moved(self.signed),
            flat=self.flat.to(device),
            clipped=self.clipped.to(device),
        )

    def resize(self, size: tuple[int, int] | int) -> Tensor:
        """Resize the maps bilinearly.

        Args:
            size: (H, W), or one side of a square.

        Returns:
            (B, H, W) float32.
        """
        return resize_maps(self.maps, (size, size) if isinstance(size, int) else (size[0], size[1]))

    def heatmap(
        self,
        index: int = 0,
        *,
        target: bool = False,
        normalize: bool = True,
        size: tuple[int, int] | None = None,
        image: Any = None,
        placement: Any = None,
    ) -> NDArray[np.float32]:
        """Give one map on the original picture's own pixels.

        Args:
            index: Which sample.
            target: The target's map (the second call) instead of the reference's.
            normalize: Divide by the largest value. A flat map becomes zeros.
            size: (H, W) of another grid that evenly covers the picture: that of a smaller copy, say.
            image: The picture, where the explanation does not know it: anything ``open_image`` takes.
            placement: Where that lies in the model's input: a ``Placement``; the transform that made the input, of
                torchvision, timm or open_clip, or processor, of transformers, which is undone; or ``"stretch"`` for a
                resize without regard to shape.

        Returns:
            (H, W) float32, in [0, 1] when normalized: ``size``, or the original picture's size where its placement is
            known, else the model input's, else the map's own.

        Raises:
            InputError: no such sample, no map of a target, or a placement that cannot be told or does not fit.

        Warns:
            MMGradWarning: the picture has another shape than the model's input, and no placement is given.
        """
        grid = self._map(index, target=target)
        where = {"image": image, "placement": placement}
        return heat_of(self, grid, index, target=target, normalize=normalize, size=size, **where)

    def peak(self, index: int = 0, *, target: bool = False, **where: Any) -> tuple[int, int]:
        """Give (y, x) of the brightest pixel of :meth:`heatmap`, in original pixels; ``where`` is handed on to it.

        Raises:
            InputError: the map is flat, so that no pixel is the brightest; or as :meth:`heatmap`.
        """
        heat = self.heatmap(index, target=target, **where)
        if heat.max() <= 0:
            raise InputError(f"the map of sample {index} is flat: it has no peak")
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        return int(y), int(x)

    def brightest_region(self, index: int = 0, *, target: bool = False, **where: Any) -> Region | None:
        """Give the connected part around the peak that is at least half as bright, on the picture's own pixels.

        Args:
            index: Which sample.
            target: The target's map.
            **where: Handed on to :meth:`heatmap`.

        Returns:
            Its share of the map and its box; None for an empty map.

        Raises:
            InputError: as :meth:`heatmap`.
        """
        return brightest_region(self.heatmap(index, target=target, **where))

    def concentration(self, index: int = 0, fraction: float = 0.1, *, target: bool = False) -> float:
        """Give the share of the map that lies in its brightest pixels.

        Args:
            index: Which sample.
            fraction: How large a part of all pixels counts as the brightest, in (0, 1].
            target: The target's map.

        Returns:
            In [0, 1]; about ``fraction`` for a map that is spread out evenly, 0 for an empty one.

        Raises:
            InputError: ``fraction`` is not in (0, 1]; or as :meth:`heatmap`.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must be in (0, 1], not {fraction}")
        heat = np.sort(self.heatmap(index, target=target), axis=None)[::-1].astype(np.float64)
        total = heat.sum()
        return float(heat[: max(1, round(fraction * heat.size))].sum() / total) if total > 0 else 0.0

    def in_words(self, index: int = 0, *, target: bool = False) -> str:
        """Say what one map means in plain words, and always what it does not mean.

        Args:
            index: Which sample.
            target: The target's map.

        Returns:
            A few short paragraphs of plain text: what was asked, where the map is bright and how concentrated, how fine
            it is, words' contributions and notes where there are any, and the limits.

        Raises:
            InputError: as :meth:`heatmap`.
        """
        return describe(self, index, target=target)

    def overlay(
        self,
        index: int = 0,
        *,
        image: Any = None,
        placement: Any = None,
        alpha: float = 0.7,
        colormap: str = "turbo",
        threshold: float = 0.0,
        contour: bool = False,
        target: Any = None,
        target_placement: Any = None,
        words: bool = False,
    ) -> Image.Image:
        """Draw the picture beside itself with the map over it, and the target likewise where there is one.

        Pictures more than 1024 pixels high are drawn at that height.

        Args:
            index: Which sample.
            image: The picture, where the explanation does not know it: anything ``open_image`` takes.
            placement: Where that lies in the model's input, as for :meth:`heatmap`.
            alpha: How strongly the map covers the picture, in [0, 1].
            colormap: Name of the colours.
            threshold: Where the map is below this share of its brightest point the picture stays as it is; in [0, 1).
            contour: Draw the line around the brightest part too.
            target: The target picture, where the explanation does not know it; False leaves the target out.
            target_placement: Where that lies in its input; None takes ``placement`` if that is a transform.
            words: Add a strip below with each word shaded by what it contributes to the score.

        Raises:
            InputError: no picture is known, ``words`` were not asked for, ``alpha`` or ``threshold`` is out of range,
                ``colormap`` is unknown, or as :meth:`heatmap`.
        """
        colours: dict[str, Any] = {"alpha": alpha, "colormap": colormap, "threshold": threshold}
        where = {"image": image, "placement": placement, "target": target, "target_placement": target_placement}
        return draw_overlay(self, index, words=words, contour=contour, **where, **colours)

    def show(self, index: int = 0, **options: Any) -> None:
        """Show :meth:`overlay`: in a notebook below the cell, elsewhere in the system's picture viewer."""
        show_picture(self.overlay(index, **options))

    def attach_images(
        self, images: Any, placement: Any = None, *, targets: Any = None, target_placement: Any = None
    ) -> Explanation:
        """Give the same explanation with its pictures, so that everything is drawn and measured on them.

        Args:
            images: The pictures, one for all samples or a list with one each.
            placement: Where they lie in the model's input, as for :meth:`heatmap`; one for all, or a list.
            targets: The target pictures likewise.
            target_placement: Where these lie; None takes ``placement`` if that is a transform.

        Raises:
            InputError: as :meth:`heatmap`, or not one for all nor one each.
        """
        return attach_images(self, images, placement, targets=targets, target_placement=target_placement)

    def interactive(self) -> Any:
        """Give sliders over :meth:`overlay` for a notebook.

        There are controls for the sample, opacity, threshold, colours, outline, target and words. Pictures are drawn
        again from the maps; the model is not run. Needs the extra ``notebook`` (ipywidgets).

        Returns:
            An ``ipywidgets.VBox``, to be a cell's last expression; its ``controls`` are by name, and its
            ``picture.value`` holds what is shown as a PNG file.

        Raises:
            InputError: ipywidgets is missing, or no picture is known.
        """
        return interactive_overlay(self)

    def _repr_png_(self) -> bytes | None:
        return None if self.images is None else png_bytes(draw_overlay(self, most=NOTEBOOK))

    def _repr_html_(self) -> str:
        return explanation_html(self)

    def save(
        self,
        folder: str | os.PathLike[str],
        overwrite: bool = False,  # noqa: FBT001, FBT002
        *,
        image: Any = None,
        placement: Any = None,
    ) -> Path:
        """Write ``maps.npz``, one picture a sample and ``manifest.json`` into a new folder, all or nothing.

        Args:
            folder: Where; the folders above it must exist.
            overwrite: Replace an explanation that was saved there; until the new one is complete the old one stays.
            image: The pictures, where the explanation does not know them, as for :meth:`attach_images`.
            placement: Where they lie in the model's input, likewise.

        Returns:
            The folder.

        Raises:
            OutputExistsError: something is there and ``overwrite`` is off, or it is not a saved explanation.
            InputError: the folder cannot be written.
        """
        images = self.images if image is None else image
        kept = self if image is None and placement is None else attach_images(self, images, placement)
        return save_folder(folder, lambda work: write_explanation(kept, work), overwrite=overwrite)

    def save_arrays(self, path: str | os.PathLike[str], index: int = 0, *, overwrite: bool = False) -> None:
        """Write one sample's maps as arrays into an ``.npz`` file, all or nothing.

        The file holds ``heatmap`` (H, W) on the picture's pixels in [0, 1], ``map`` (h, w) on the layer's grid,
        ``score`` (), and ``target_heatmap`` and ``target_map`` where there is a target.

        Raises:
            OutputExistsError: the file is there and ``overwrite`` is off.
            InputError: it cannot be written, or as :meth:`heatmap`.
        """
        write_arrays(self, path, index, overwrite=overwrite)

    def manifest(self) -> dict[str, Any]:
        """Give everything but tensors and pictures, ready for JSON."""
        return manifest_of(self)

    def _map(self, index: int, *, target: bool) -> Tensor:
        maps = self.calls[call_of(self, target=target)]
        self._check(index)
        return maps[index]

    def _check(self, index: int) -> None:
        if not hasattr(index, "__index__"):
            raise TypeError(
                f"index: the first argument is the number of a sample, not {type(index).__name__}; a picture is handed "
                "over as image=..."
            )
        if not -len(self) <= index < len(self):
            raise InputError(f"index must be below {len(self)}, the number of samples, not {index}")
