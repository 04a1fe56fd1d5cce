"""The result of a call: maps that can be read, drawn, put into words and saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.drawing import draw_overlay
from mmgrad_explain.explanation.heatmaps import Heatmaps
from mmgrad_explain.explanation.maps import check_index
from mmgrad_explain.explanation.notebook import explanation_html, png_bytes, show_picture
from mmgrad_explain.explanation.plain_words import describe_map
from mmgrad_explain.explanation.saving import explanation_to_dict, save_folder, write_arrays, write_explanation
from mmgrad_explain.explanation.sliders import interactive_overlay
from mmgrad_explain.images.tiles import NOTEBOOK

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from mmgrad_explain.explanation.map_check import MapCheck


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Heatmaps):
    """Where a model looked, for each sample of a batch: maps, and how they are read, drawn and saved.

    The attributes are those of :class:`~mmgrad_explain.explanation.maps.ExplainedMaps`;
    :class:`~mmgrad_explain.explanation.heatmaps.Heatmaps` reads the maps on the original images.
    """

    def in_words(self, index: int = 0, *, target: bool = False) -> str:
        """Describe in plain words what one map means, and always what it does not mean.

        Args:
            index: Which sample.
            target: The target's map.

        Returns:
            A few short paragraphs of plain text: what was asked, where the map is bright and how concentrated, how fine
            it is, words' contributions and notes where there are any, and the limits.

        Raises:
            InputError: as :meth:`Heatmaps.heatmap`.
        """
        return describe_map(self, index, target=target)

    def check(
        self,
        samples: int | Sequence[int] | None = None,
        *,
        target: bool = False,
        other: Any = None,
        progress: bool = False,
    ) -> tuple[MapCheck, ...]:
        """Find out how far the maps can be trusted, each on its own image and text; the model is run again.

        Three figures are measured: the correlation with an occlusion map of the same score (cells of the image are
        hidden by blur, one after the other), how much faster the score falls when the brightest places are deleted
        first, and the distance to the map of another text. It takes about a hundred forwards a sample, in batches, and
        a call for the other text. The explanation keeps the result: what is drawn, saved or described afterwards shows
        it, and a map that fails is drawn with a mark.

        It works on every copy (``to()``, :meth:`attach_images`, ``dataclasses.replace``). The model must still have
        the weights that made the maps.

        Args:
            samples: Which samples; None for all.
            target: Check the maps of the target image.
            other: Another text: a string, where the explanation was made of strings; or a mapping of those arguments of
                the model that hold the text. None takes an unrelated sentence that the model knows, or the text of
                another sample of the batch; where there is neither, the figure is left out with the reason.
            progress: Show a progress bar.

        Returns:
            One check a sample; ``str(check)`` is a line in plain words.

        Raises:
            InputError: the explanation was unpickled, or made of recorded forwards, so that the model cannot be run
                again; the model takes no image (B, C, H, W); the model has changed since; or no such sample.
        """
        if self.source is None:
            raise InputError(
                "check: this explanation does not know the model and the inputs that made it (they are not pickled or "
                "saved, and attend() does not keep them): explain again with explain() or mmgrad(...), and check that"
            )
        wanted = range(len(self)) if samples is None else [samples] if isinstance(samples, int) else list(samples)
        for sample in wanted:
            check_index(sample, len(self))
        numbers = [sample % len(self) for sample in wanted]
        with Bar() as bar:
            show = bar.show if progress else _show_nothing
            found = self.source.check(self, numbers, target=target, other=other, progress=show)
        kept = [one for one in self.checks if one.target != target or one.sample not in numbers]
        object.__setattr__(self, "checks", (*kept, *found))
        return tuple(found)

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
        """Draw the image, the same image under its map beside it, and the target likewise where there is one.

        Images more than 1024 pixels high are drawn at that height.

        Args:
            index: Which sample.
            image: The image, where the explanation does not know it: anything ``open_image`` takes.
            placement: Where it lies in the model's input, as for :meth:`Heatmaps.heatmap`.
            alpha: How strongly the map covers the image, in [0, 1].
            colormap: Name of the colours.
            threshold: Where the map is below this share of its maximum the image stays as it is; in [0, 1).
            contour: Also draw a line around the brightest part.
            target: The target image, where the explanation does not know it; False leaves the target out.
            target_placement: Where it lies in its input; None takes ``placement`` if that is a transform.
            words: Add a strip below with each word shaded by what it contributes to the score.

        Raises:
            InputError: no image is known, ``words`` were not asked for, ``alpha`` or ``threshold`` is out of range,
                ``colormap`` is unknown, or as :meth:`Heatmaps.heatmap`.
        """
        colours: dict[str, Any] = {"alpha": alpha, "colormap": colormap, "threshold": threshold}
        where = {"image": image, "placement": placement, "target": target, "target_placement": target_placement}
        return draw_overlay(self, index, words=words, contour=contour, **where, **colours)

    def save_overlay(
        self, path: str | os.PathLike[str], index: int = 0, *, overwrite: bool = False, **options: Any
    ) -> None:
        """Write :meth:`overlay` to a file that says where it came from, whole or not at all.

        The file holds text, model, layers, method, score, notes, check figures and versions;
        :func:`~mmgrad_explain.images.provenance.read_provenance` reads them.

        Args:
            path: The file: ``.png``, ``.jpg`` or ``.webp``.
            index: Which sample.
            overwrite: Replace the file if it exists.
            **options: Of :meth:`overlay`.

        Raises:
            OutputExistsError: the file exists and ``overwrite`` is off.
            InputError: it cannot be written, or as :meth:`overlay`.
        """
        from mmgrad_explain.images.saving import safe_save

        safe_save(self.overlay(index, **options), path, overwrite=overwrite)

    def show(self, index: int = 0, **options: Any) -> None:
        """Show :meth:`overlay`: below the cell in a notebook, elsewhere in the system's image viewer."""
        show_picture(self.overlay(index, **options))

    def interactive(self) -> Any:
        """Return sliders that control :meth:`overlay`, for a notebook.

        There are controls for the sample, opacity, threshold, colours, outline, target and words. The figure is drawn
        again from the maps; the model is not run. Needs the extra ``notebook`` (ipywidgets).

        Returns:
            An ``ipywidgets.VBox``, to be a cell's last expression; its ``controls`` are by name, and its
            ``picture.value`` holds the figure as a PNG file.

        Raises:
            InputError: ipywidgets is missing, or no image is known.
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
        """Write ``maps.npz``, one overlay a sample and ``manifest.json`` into a new folder, all or nothing.

        Args:
            folder: The new folder; the folders above it must exist.
            overwrite: Replace an explanation that was saved there; until the new one is complete the old one stays.
            image: The images, where the explanation does not know them, as for :meth:`attach_images`.
            placement: Where they lie in the model's input, likewise.

        Returns:
            The folder.

        Raises:
            OutputExistsError: the folder exists and ``overwrite`` is off, or it is not a saved explanation.
            InputError: the folder cannot be written.
        """
        images = self.images if image is None else image
        kept = self if image is None and placement is None else self.attach_images(images, placement)
        return save_folder(folder, lambda work: write_explanation(kept, work), overwrite=overwrite)

    def save_arrays(self, path: str | os.PathLike[str], index: int = 0, *, overwrite: bool = False) -> None:
        """Write one sample's maps as arrays into an ``.npz`` file, all or nothing.

        The file holds ``heatmap`` (H, W) on the image's pixels in [0, 1], ``map`` (h, w) on the layer's grid,
        ``score`` (), and ``target_heatmap`` and ``target_map`` where there is a target.

        Raises:
            OutputExistsError: the file exists and ``overwrite`` is off.
            InputError: it cannot be written, or as :meth:`Heatmaps.heatmap`.
        """
        write_arrays(self, path, index, overwrite=overwrite)

    def manifest(self) -> dict[str, Any]:
        """Return everything but tensors and images, ready for JSON."""
        return explanation_to_dict(self)


def _show_nothing(*_: Any) -> None:
    """Show no progress."""
