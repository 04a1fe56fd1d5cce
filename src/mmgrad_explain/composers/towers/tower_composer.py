"""Two towers of which the vision tower says itself where its features lie on the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.dual_encoder import DualEncoder

if TYPE_CHECKING:
    from mmgrad_explain.attention.layouts.layout import Layout
    from mmgrad_explain.composers.towers.timm_layers import GridLayer


class TowerComposer(DualEncoder):
    """A vision tower with a known layer, and a text tower.

    Attributes:
        grid_layer: The layer that is explained by default, by its name inside this composer; None where it is looked
            for at every explanation.
        input_size: (H, W), pixels, that ``grid_layer`` speaks of.
    """

    grid_layer: GridLayer | None = None
    input_size: tuple[int, int] = (0, 0)

    def explain_at(self, layer: GridLayer | None, input_size: tuple[int, int]) -> None:
        """Take a layer as the one that is explained by default."""
        self.grid_layer, self.input_size = layer, input_size
        self.target_layer = None if layer is None else layer.name

    def layout_for(self, layer: str, *args: Any, **kwargs: Any) -> Layout | None:
        """How the default layer's output lies on the picture; None for others, whose layout is inferred.

        Args:
            layer: Dotted name.
            *args: What the composer takes: pixels first.
            **kwargs: What it takes by name.
        """
        known = self.grid_layer
        if known is None or layer != known.name:
            return None
        pixels = kwargs["pixel_values"] if "pixel_values" in kwargs else args[0]
        # Tokens of pictures of another size have another grid.
        same = known.kind != "tokens" or tuple(pixels.shape[2:]) == self.input_size
        return known.layout if same else None
