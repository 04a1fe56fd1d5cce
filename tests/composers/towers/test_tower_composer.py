"""The layout of the known layer of a vision tower."""

import pytest
import torch

from mmgrad_explain.composers.towers.timm_layers import GridLayer
from mmgrad_explain.composers.towers.tower_composer import TowerComposer


class Tower(TowerComposer):
    def encode_image(self, pixel_values):
        return pixel_values

    def embed_text(self, input_ids, attention_mask):
        return input_ids


@pytest.fixture
def composer():
    return Tower()


def test_the_known_layer_is_the_default(composer):
    composer.explain_at(GridLayer("vision.stem", "nchw", (2, 3)), (64, 96))
    assert composer.target_layer == "vision.stem"
    composer.explain_at(None, (64, 96))
    assert composer.target_layer is None
    assert composer.layout_for("vision.stem", torch.zeros(1, 3, 64, 96)) is None


def test_tokens_of_images_of_another_size_have_another_grid(composer):
    composer.explain_at(GridLayer("vision.norm", "tokens", (4, 6), tokens=25, prefix=1), (64, 96))
    small = torch.zeros(1, 3, 32, 32)
    assert composer.layout_for("vision.norm", small) is None
    same = composer.layout_for("vision.norm", pixel_values=torch.zeros(1, 3, 64, 96))
    assert (same.kind, same.grid, same.prefix) == ("tokens", (4, 6), 1)
    assert composer.layout_for("vision.other", pixel_values=torch.zeros(1, 3, 64, 96)) is None
    composer.explain_at(GridLayer("vision.norm", "nchw", (2, 3)), (64, 96))
    assert composer.layout_for("vision.norm", small).kind == "nchw"
