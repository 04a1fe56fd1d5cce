"""A layer that a map can be made at."""

from dataclasses import dataclass

from mmgrad_explain.attention.layouts.layout import AnyLayout


@dataclass(frozen=True)
class Candidate:
    """A layer whose output looks like a grid over the image.

    Attributes:
        name: Dotted name inside the model.
        type: Class name of the module.
        grid: (h, w), cells.
        channels: K.
        layout: How the output lies on the image: from the model's own ``layout_for``, or inferred.
        calls: How often the forward called the layer.
        gradient_reaches: Whether the score has a gradient other than zero on the grid.
        mixes_text: Whether text has been mixed into the output; None where no text input was recognized.
        chosen: Whether ``target_layers=None`` takes this layer: the model's own ``target_layer`` if it names one.
        image_names: Names of the input images that its calls belong to, if there are several input images; else empty.
    """

    name: str
    type: str
    grid: tuple[int, int]
    channels: int
    layout: AnyLayout
    calls: int
    gradient_reaches: bool
    mixes_text: bool | None
    chosen: bool = False
    image_names: tuple[str, ...] = ()
