"""How the output of a layer lies on the image: as a grid, as tokens of a grid, or as cells in another order."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.layouts.detection import infer_layout as infer_layout
    from mmgrad_explain.attention.layouts.layout import AnyLayout as AnyLayout
    from mmgrad_explain.attention.layouts.layout import Cells as Cells
    from mmgrad_explain.attention.layouts.layout import Layout as Layout
    from mmgrad_explain.attention.layouts.layout import LayoutLike as LayoutLike
    from mmgrad_explain.attention.layouts.layout import describe_layout as describe_layout
    from mmgrad_explain.attention.layouts.layout import ensure_layout as ensure_layout
    from mmgrad_explain.attention.layouts.layout import to_grid as to_grid

__getattr__, __dir__ = door(__name__)
