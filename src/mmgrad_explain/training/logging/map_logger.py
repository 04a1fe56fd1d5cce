"""Log overlays of fixed samples at every evaluation, and curves of how well maps point.

:class:`MapLogger` is a callback of a transformers ``Trainer``; your own loop calls :meth:`MapLogger.log`.
"""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image
from torch import Tensor
from transformers import TrainerCallback

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.result import Explanation
from mmgrad_explain.images.contours import contour
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.panels import panel
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.values import as_array
from mmgrad_explain.training.figures import NOT_LOGGED, add_group, add_group_to_logged_name
from mmgrad_explain.training.logging.boards import Board, TensorBoard, board_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

_HEIGHT = 256  # of the two tiles of a sample, pixels
_LETTERS = 19  # of the words below them, pixels: boards scale images down


class MapLogger(TrainerCallback):  # type: ignore[misc]
    """Logs overlays and grounding curves.

    Figures are logged in groups: ``grounding/pointing`` and others on held-out data, ``grounding/train/dice`` and other
    parts of the grounding loss, ``retrieval/r1``, ``train/loss``. Images are ``maps/1``, ``maps/2``...: the sample and
    its map at this step, both with the outline of the mask if there is one.

    Args:
        *places: Where to log: a folder (for TensorBoard), a ``SummaryWriter``, a run of Weights & Biases, or any
            :class:`~mmgrad_explain.training.logging.boards.Board`.
        maps: For a Trainer: computes the samples' maps at every evaluation. It is called with the model and returns
            what :meth:`log` takes. None logs no images by itself.
        images: The samples' images; not needed if ``maps`` returns an ``Explanation`` that holds them.
        captions: The texts of the samples.
        masks: Where each map should be bright; None if that is not known.
        figures: For a Trainer: whether to log its figures. None logs them unless the Trainer reports to a board itself
            (``report_to``), so that no curve is logged twice.

    Raises:
        InputError: If a place is a folder and tensorboard is not installed.
        TypeError: If a place is none of these.
    """

    def __init__(
        self,
        *places: Any,
        maps: Callable[[nn.Module], Any] | None = None,
        images: Sequence[Any] | None = None,
        captions: Sequence[str] | None = None,
        masks: Sequence[Any] | None = None,
        figures: bool | None = None,
    ) -> None:
        self.boards: list[Board] = [board_of(place) for place in places]
        self.maps = maps
        self.images, self.captions, self.masks = images, captions, masks
        self.figures = figures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(failed=kind is not None)

    def log(
        self,
        step: int,
        maps: Any = None,
        *,
        images: Sequence[Any] | None = None,
        captions: Sequence[str] | None = None,
        masks: Sequence[Any] | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Log maps or figures of a step, or both.

        Args:
            step: The optimizer step.
            maps: ``(n, h, w)``, each shown relative to its own maximum, negative values as 0; or an ``Explanation``.
            images: ``n`` images, anything that :func:`~mmgrad_explain.images.reading.open_image` takes; None takes
                those of the constructor, or else the explanation's own.
            captions: ``n`` texts; None as for ``images``.
            masks: ``n`` masks ``(H, W)`` on the images, or None for single ones; None takes those of the constructor.
            figures: Numbers by name. Figures of this package get their group; ``group/name`` stays unchanged.

        Raises:
            InputError: If there are no images, or their number differs from that of the maps.
        """
        if figures:
            self._log_figures({add_group(name): value for name, value in figures.items()}, step)
        if maps is None:
            return
        drawn = self._draw(step, maps, images, captions, masks)
        for board in self.boards:
            board.log_images(drawn, step)

    def close(self, *, failed: bool = False) -> None:
        """Close the boards that this opened; writers and runs that were passed in stay open."""
        for board in self.boards:
            if hasattr(board, "close"):
                board.close(failed=failed)

    # ------------------------------------------------------------------------------------------- a Trainer's callback

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Replace what an earlier start of a resumed run logged of the coming steps."""
        for board in self.boards:
            if isinstance(board, TensorBoard):
                board.begun = state.global_step

    def on_log(self, args: Any, state: Any, _control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Log the Trainer's figures."""
        wanted = not getattr(args, "report_to", None) if self.figures is None else self.figures
        if not wanted or not state.is_world_process_zero:
            return
        numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, Real)}
        self._log_figures(
            {add_group_to_logged_name(name): value for name, value in numbers.items() if name not in NOT_LOGGED},
            state.global_step,
        )

    def on_evaluate(self, _args: Any, state: Any, _control: Any, model: Any = None, **_: Any) -> None:
        """Compute the samples' maps and log them."""
        if self.maps is not None and state.is_world_process_zero:
            self.log(state.global_step, self.maps(model))

    # -------------------------------------------------------------------------------------------------------- the rest

    def _log_figures(self, figures: Mapping[str, Any], step: int) -> None:
        numbers = {name: float(as_array(one) if isinstance(one, Tensor) else one) for name, one in figures.items()}
        for board in self.boards:
            board.log_figures(numbers, step)

    def _draw(
        self,
        step: int,
        maps: Any,
        images: Sequence[Any] | None,
        captions: Sequence[str] | None,
        masks: Sequence[Any] | None,
    ) -> dict[str, tuple[Image.Image, str]]:
        own_images, own_captions, heats = None, None, maps
        if isinstance(maps, Explanation):
            own_images, own_captions = maps.images, maps.texts
            heats = [maps.heatmap(index) for index in range(len(maps))]
        shown = _first(images, self.images, own_images)
        if shown is None:
            raise InputError("images are missing: pass the images that the maps belong to")
        texts = _first(captions, self.captions, own_captions)
        outlines = _first(masks, self.masks)
        texts = [""] * len(heats) if texts is None else texts
        outlines = [None] * len(heats) if outlines is None else outlines
        if not len(heats) == len(shown) == len(texts) == len(outlines):
            raise InputError(
                f"there must be as many maps as images, captions and masks, not {len(heats)}, {len(shown)}, "
                f"{len(texts)}, {len(outlines)}"
            )
        rows = zip(shown, heats, texts, outlines, strict=True)
        return {f"maps/{number}": (draw_sample(*row, step), row[2]) for number, row in enumerate(rows, start=1)}


def draw_sample(image: Any, heat: Any, caption: str, mask: Any, step: int) -> Image.Image:
    """Draw a sample beside its map.

    Args:
        image: An image, anything that :func:`~mmgrad_explain.images.reading.open_image` takes.
        heat: The map, ``(h, w)``, shown relative to its maximum.
        caption: Text below the image.
        mask: ``(H, W)`` on the image, outlined in both; or None.
        step: The step, written below the map, with a note if the map is empty.

    Returns:
        RGB, two tiles, 256 pixels high.
    """
    photo = open_image(image)
    photo = photo.resize((max(1, round(photo.width * _HEIGHT / photo.height)), _HEIGHT), Image.Resampling.LANCZOS)
    values = np.nan_to_num(as_array(heat).astype(np.float32)).clip(0)
    peak = float(values.max())
    tiles = [np.asarray(photo), blend(photo, values / peak if peak > 0 else values, alpha=0.7)]
    if mask is not None:
        region = (as_array(mask) > 0).astype(np.float32)
        tiles = [contour(tile, region) for tile in tiles]
    return panel(
        tiles, [caption, f"step {step}" + ("" if peak > 0 else ", an empty map")], height=_HEIGHT, letters=_LETTERS
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
