"""The base of two-tower models whose vision tower has a known grid layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.dual_encoder import DualEncoder

if TYPE_CHECKING:
    from mmgrad_explain.attention.layouts.layout import Layout
    from mmgrad_explain.composers.towers.timm_layers import GridLayer


class TowerComposer(DualEncoder):
    """A vision tower with a known layer, and a text tower.

    Attributes:
        grid_layer: The default layer, by its name inside this composer; None if it is searched at every explanation.
        input_size: (H, W), pixels, of the images that ``grid_layer`` describes.
    """

    grid_layer: GridLayer | None = None
    input_size: tuple[int, int] = (0, 0)

    def explain_at(self, layer: GridLayer | None, input_size: tuple[int, int]) -> None:
        """Make a layer the default."""
        self.grid_layer, self.input_size = layer, input_size
        self.target_layer = None if layer is None else layer.name

    def layout_for(self, layer: str, *args: Any, **kwargs: Any) -> Layout | None:
        """Find the layout of the default layer's output; None for other layers, whose layout is inferred.

        Args:
            layer: Dotted name.
            *args: Inputs of the composer, pixels first.
            **kwargs: Inputs by name.
        """
        known = self.grid_layer
        if known is None or layer != known.name:
            return None
        pixels = kwargs["pixel_values"] if "pixel_values" in kwargs else args[0]
        # Tokens of images of another size have another grid.
        same = known.kind != "tokens" or tuple(pixels.shape[2:]) == self.input_size
        return known.layout if same else None
