"""Marked places: how pictures are marked, and how often the marked cells changed most."""

import pytest
import torch

from mmgrad_explain.attention.layouts.marked_places import mark_images, refuse_packed, share_found
from mmgrad_explain.errors import InputError

PLACE = ((0.5, 0.75), (0.25, 0.5))


class TestMark:
    @pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.uint8])
    def test_dark_becomes_bright_at_the_place_alone(self, kind):
        x = (torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 255).to(kind)
        given = ({"views": [x, "words"]}, torch.ones(2, 4))
        marked = mark_images(given, PLACE)
        made = marked[0]["views"][0]
        changed = (made != x).any(1)
        assert made.dtype == kind
        assert changed[:, 4:6, 3:6].all()
        assert changed.sum() == 2 * 2 * 3
        assert set(made[:, :, 4:6, 3:6].flatten().tolist()) == {x.min().item(), x.max().item()}
        assert marked[0]["views"][1] == "words"
        assert marked[1] is given[1]

    def test_a_picture_of_one_colour(self):
        made = mark_images(torch.zeros(1, 1, 4, 4), PLACE)
        assert made.nonzero().tolist() == [[0, 0, 2, 1]]

    def test_patches(self):
        given = {"pixel_values": torch.rand(2, 20, 12), "spatial_shapes": torch.tensor([[4, 4]] * 2)}
        made = mark_images(((), given), PLACE)[1]["pixel_values"]
        assert (made != given["pixel_values"]).any(2).nonzero().tolist() == [[0, 9], [1, 9]]

    def test_no_picture(self):
        given = (torch.zeros(2, 5), {"a": "words"})
        assert mark_images(given, PLACE) is given


class TestShareFound:
    def test_by_hand(self):
        change = torch.zeros(1, 4, 4)
        change[0, 2, 1] = 3  # the marked cell
        assert share_found(change, PLACE) == 1
        change[0, 0] = torch.tensor([1.0, 3.0, 4.0, 5.0])
        assert share_found(change, PLACE) == pytest.approx((12 + 0.5) / 15)
        assert share_found(change.flip(1), PLACE) == 0

    def test_samples_are_counted_together(self):
        change = torch.zeros(2, 4, 4)
        change[0, 2, 1] = change[1, 0, 0] = 1
        assert share_found(change, PLACE) == pytest.approx(15 / 16)

    def test_cells_that_touch_the_place_do_not_count(self):
        change = torch.zeros(1, 3, 3)
        change[0, 1, :2] = 9  # rows 1.5 to 2.25 of 3: half of row 1, a quarter of row 2; columns 0.75 to 1.5
        change[0, 2, 1] = 20
        assert share_found(change, PLACE) == 1

    def test_cells_that_a_stride_passed_over(self):
        change = torch.zeros(1, 8, 8)
        change[0, 4, 2] = 1  # of four marked cells
        assert share_found(change, PLACE) == 1
        change[0, 0, 0] = 2
        assert share_found(change, PLACE) == pytest.approx(59 / (59 + 4))

    def test_nothing_changed(self):
        assert share_found(torch.zeros(2, 4, 4), PLACE) == 0

    def test_nothing_elsewhere(self):
        assert share_found(torch.ones(2, 1, 1), PLACE).isnan()


class TestRefused:
    def test_packed(self):
        with pytest.raises(InputError, match="image_grid_thw: the patches of all images come packed into one list"):
            refuse_packed(((), {"image_grid_thw": torch.ones(1, 3)}))
        with pytest.raises(InputError, match="image_grid_thw"):
            refuse_packed((({"image_grid_thw": torch.ones(1, 3)},), {}))

    def test_shapes(self):
        refuse_packed(((), {"spatial_shapes": torch.tensor([[2, 3], [2, 3]])}))
        refuse_packed(((torch.ones(2),), {"spatial_shapes": None}))
        with pytest.raises(InputError, match="spatial_shapes: images of several shapes have no grid in common"):
            refuse_packed(((), {"spatial_shapes": torch.tensor([[2, 3], [3, 2]])}))
