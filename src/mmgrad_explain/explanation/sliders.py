"""Sliders for the overlays of an explanation in a notebook, drawn from the maps without the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.drawing import draw_overlay
from mmgrad_explain.explanation.notebook import png_bytes
from mmgrad_explain.explanation.sides import sides_with_maps
from mmgrad_explain.images.colormaps import COLORMAPS
from mmgrad_explain.images.tiles import NOTEBOOK

if TYPE_CHECKING:
    from mmgrad_explain.explanation.heatmaps import Heatmaps


def interactive_overlay(explanation: Heatmaps) -> Any:
    """Make the widget; see :meth:`~mmgrad_explain.explanation.Explanation.interactive`.

    The widget's ``controls`` holds its controls by name (``index``, ``alpha``, ``threshold``, ``colormap``,
    ``contour``, and ``target`` and ``words`` where there are any), and its ``picture`` the :class:`ipywidgets.Image`.

    Args:
        explanation: Maps with their images.

    Raises:
        InputError: ipywidgets is missing, or no image is known.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        raise InputError(
            f"interactive() shows its sliders with ipywidgets, which cannot be imported ({error}): pip install "
            '"mmgrad-explain[notebook]"'
        ) from error
    if explanation.images is None:
        raise InputError(
            "interactive() draws over images, and the explanation knows none: pass them to attach_images() first"
        )

    def slider(name: str, value: float, most: float) -> Any:
        """Make a slider that redraws when it stops, not while it moves."""
        return widgets.FloatSlider(
            value=value, min=0.0, max=most, step=0.05, description=name, readout_format=".2f", continuous_update=False
        )

    controls: dict[str, Any] = {}
    if len(explanation) > 1:
        named = [
            (f"{index + 1}. {explanation.texts[index]}" if explanation.texts is not None else f"{index + 1}.", index)
            for index in range(len(explanation))
        ]
        controls["index"] = widgets.Dropdown(options=named, value=0, description="sample")
    controls["alpha"] = slider("opacity", 0.7, 1.0)
    controls["threshold"] = slider("threshold", 0.0, 0.95)
    controls["colormap"] = widgets.Dropdown(options=COLORMAPS, value=COLORMAPS[0], description="colours")
    controls["contour"] = widgets.Checkbox(value=False, description="outline of the brightest part")
    if explanation.targets is not None and True in sides_with_maps(explanation):
        controls["target"] = widgets.Checkbox(value=True, description="target")
    if explanation.words is not None:
        controls["words"] = widgets.Checkbox(value=True, description="words")
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))

    def redraw(_change: Any = None) -> None:
        options = {name: control.value for name, control in controls.items()}
        if options.get("target"):  # the explanation knows its target
            del options["target"]
        picture.value = png_bytes(draw_overlay(explanation, most=NOTEBOOK, **options), quick=True)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    widget = widgets.VBox([widgets.HBox(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap")), picture])
    widget.controls, widget.picture = controls, picture
    return widget
