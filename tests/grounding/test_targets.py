"""Masks, boxes and points on a grid."""

import math

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import GroundingTargets, grounding_targets, partner_masks
from mmgrad_explain.grounding.targets import lay_on_grid


class TestMasks:
    def test_area_averaged(self):
        mask = torch.zeros(1, 4, 6)
        mask[0, :2, :3] = 1
        mask[0, 0, 3] = 1
        masks, supervised = grounding_targets((2, 2), masks=mask)
        torch.testing.assert_close(masks, torch.tensor([[[1, 1 / 6], [0, 0]]]))
        assert supervised.tolist() == [True]

    def test_cells_that_cut_pixels(self):
        """Three pixels on two cells: the middle one belongs to both by halves."""
        masks = lay_on_grid(torch.tensor([[[1.0, 0.4, 0.1]]]), (1, 2))
        left, right = (1 + 0.4 / 2) / 1.5, (0.4 / 2 + 0.1) / 1.5
        torch.testing.assert_close(masks, torch.tensor([[[1.0, right / left]]]))

    @pytest.mark.parametrize(("source", "grid"), [((7, 5), (3, 4)), ((4, 4), (6, 9)), ((5, 5), (5, 5))])
    def test_the_mean_is_kept_but_for_the_maximum(self, source, grid):
        mask = torch.rand(2, *source, dtype=torch.float64)
        laid = lay_on_grid(mask, grid)
        peak = mask.amax((1, 2))
        torch.testing.assert_close(laid.amax((1, 2)), peak)
        rows, columns = (
            torch.ones(cells, size, dtype=torch.float64).cumsum(1) for cells, size in zip(grid, source, strict=True)
        )
        high, wide = (
            (
                (
                    torch.minimum(ends / ends.shape[1], starts + 1 / len(ends))
                    - torch.maximum((ends - 1) / ends.shape[1], starts)
                ).clamp(min=0)
                * len(ends)
            )
            for ends in (rows, columns)
            for starts in [torch.arange(len(ends), dtype=torch.float64)[:, None] / len(ends)]
        )
        plain = high @ mask @ wide.T
        torch.testing.assert_close(plain.mean((1, 2)), mask.mean((1, 2)))
        torch.testing.assert_close(laid, plain * (peak / plain.amax((1, 2)))[:, None, None])

    def test_autocast_has_no_say(self):
        mask = torch.rand(2, 30, 30)
        plain = lay_on_grid(mask, (7, 7))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(lay_on_grid(mask, (7, 7)), plain)

    def test_a_coarse_mask_on_a_fine_grid(self):
        masks = lay_on_grid(torch.tensor([[[1.0, 0.0]]]), (2, 4))
        assert torch.equal(masks, torch.tensor([[[1.0, 1, 0, 0], [1, 1, 0, 0]]]))

    def test_objects_smaller_than_a_cell_do_not_vanish(self):
        mask = torch.zeros(2, 64, 64)
        mask[0, 20, 40] = 1
        mask[1, 15:17, 31:33] = 0.5  # on the corner of four cells
        masks, supervised = grounding_targets((4, 4), masks=mask)
        assert masks[0, 1, 2] == 1
        assert masks[0].sum() == 1
        assert (masks[1, :2, 1:3] == 0.5).all()
        assert masks[1].sum() == 2
        assert supervised.all()

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float64])
    def test_dtypes(self, dtype):
        masks = grounding_targets((2, 2), masks=torch.eye(4).to(dtype)[None]).masks
        assert masks.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(masks[0].float(), torch.eye(2))

    def test_a_channel_of_one(self):
        assert grounding_targets((2, 2), masks=torch.ones(3, 1, 8, 8)).masks.shape == (3, 2, 2)

    def test_a_list_with_gaps_and_resolutions(self):
        masks, supervised = grounding_targets(
            (2, 2), masks=[torch.eye(4), None, torch.eye(2).bool(), torch.zeros(3, 3)]
        )
        assert torch.equal(masks[0], torch.eye(2))
        assert torch.equal(masks[2], torch.eye(2))
        assert masks[1].sum() == masks[3].sum() == 0
        assert supervised.tolist() == [True, False, True, False]

    def test_nothing_at_all(self):
        masks, supervised = grounding_targets((2, 3), masks=[None, None])
        assert masks.shape == (2, 2, 3)
        assert not supervised.any()

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (torch.full((1, 2, 2), 255), "got 255 to 255: divide a mask of 0 to 255 by 255"),
            (torch.full((1, 2, 2), -0.1), "got -0.1 to -0.1"),
            (torch.full((1, 2, 2), float("nan")), "got nan to nan: it holds NaN"),
        ],
    )
    def test_values_out_of_range(self, mask, message):
        with pytest.raises(InputError, match=r"masks must lie in \[0, 1\], " + message):
            grounding_targets((2, 2), masks=mask)
        with pytest.raises(InputError, match=message):
            grounding_targets((2, 2), masks=[mask[0]])
        grounding_targets((2, 2), masks=mask, validate=False)

    @pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2, 2), (1, 0, 2), (1, 1, 1, 2, 2)])
    def test_shapes(self, shape):
        with pytest.raises(InputError, match=r"masks must be \(B, H, W\) or \(B, 1, H, W\), got"):
            grounding_targets((2, 2), masks=torch.zeros(shape))

    def test_one_of_a_list(self):
        with pytest.raises(InputError, match=r"masks: sample 1 must be \(H, W\), got \(1, 2, 2\)"):
            grounding_targets((2, 2), masks=[None, torch.zeros(1, 2, 2)])
        with pytest.raises(TypeError, match=r"masks: sample 0 must be a tensor \(H, W\) or None, not list"):
            grounding_targets((2, 2), masks=[[[1.0]]])

    @pytest.mark.parametrize("times", [1, 2, 3, 5, 7])
    def test_cells_of_whole_pixels(self, times):
        """What only touches a cell gives nothing to it, not even what rounding leaves; a whole cell is one."""
        for cells in range(1, 30):
            mask = (torch.rand(2, cells, cells) > 0.5).float()
            mask[:, 0, 0] = 1
            pixels = mask.repeat_interleave(times, 1).repeat_interleave(times, 2)
            assert torch.equal(lay_on_grid(pixels, (cells, cells)), mask)
            edges = [((i, j, i + 1, j + 1), (i, j)) for i, j in ((0, cells - 1), (cells // 2, cells // 3))]
            for corners, (column, row) in edges:
                box = tuple(corner / cells for corner in corners)
                laid = grounding_targets((cells, cells), boxes=[[box]]).masks
                assert laid[0].nonzero().tolist() == [[row, column]]


class TestBoxes:
    def test_coverage(self):
        masks, supervised = grounding_targets((2, 4), boxes=[[(0.0, 0.0, 0.5, 0.75)], None, []])
        assert torch.equal(masks[0], torch.tensor([[1.0, 1, 0, 0], [0.5, 0.5, 0, 0]]))
        assert supervised.tolist() == [True, False, False]

    def test_several_and_small_ones(self):
        masks = grounding_targets((4, 4), boxes=[torch.tensor([[0, 0, 0.5, 0.5], [0.9, 0.9, 0.95, 0.95]])]).masks
        expected = torch.zeros(4, 4)
        expected[:2, :2] = expected[3, 3] = 1
        torch.testing.assert_close(masks[0], expected)

    def test_pixels_of_images_of_different_sizes(self):
        boxes = [(0, 0, 20, 10), [(10, 10, 20, 20)]]
        masks = grounding_targets((2, 2), boxes=boxes, units="pixel", image_size=[(20, 40), (20, 20)]).masks
        assert torch.equal(masks, torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [0, 1]]]))
        same = grounding_targets((2, 2), boxes=[[(0, 0, 20, 10)]], units="pixel", image_size=(20, 40)).masks
        assert torch.equal(same[0], masks[0])

    def test_a_list_of_tensors(self):
        one, two = torch.tensor([0, 0, 0.5, 0.5]), torch.tensor([0.5, 0.5, 1, 1])
        assert torch.equal(grounding_targets((2, 2), boxes=[[one, two]]).masks[0], torch.eye(2))

    def test_a_batch_of_none(self):
        masks, supervised = grounding_targets((2, 3), boxes=[], points=[])
        assert masks.shape == (0, 2, 3)
        assert supervised.shape == (0,)

    def test_over_the_edge(self):
        masks = grounding_targets((2, 2), boxes=[[(-0.01, -0.01, 0.5, 1.03)]]).masks
        assert torch.equal(masks[0], torch.tensor([[1.0, 0], [1, 0]]))

    @pytest.mark.parametrize(
        ("boxes", "options", "message"),
        [
            (
                [[(10, 10, 40, 40)]],
                {},
                r"boxes: sample 0 reaches outside the image \(10 to 40, in fractions .*'pixel'",
            ),
            ([None, [(0.5, 0.2, 0.4, 0.3)]], {}, "boxes: sample 1 holds a box with nothing in the image"),
            ([[(30, 0, 40, 9)]], {"units": "pixel", "image_size": (9, 20)}, "nothing in the image"),
            ([[(0, 0, 1)]], {}, r"boxes: sample 0 must be rows of \(x0, y0, x1, y1\), got shape \(1, 3\)"),
            ([[(0, 0, 1), (0, 0, 1, 1)]], {}, r"boxes: sample 0 must be rows of \(x0, y0, x1, y1\): expected sequence"),
            ([["left"]], {}, r"boxes: sample 0 must be rows of \(x0, y0, x1, y1\): "),
            ([[(0, 0, 1, math.nan)]], {}, "boxes: sample 0 holds values that are not finite"),
            ([None], {"units": "cells"}, "units must be 'fraction' or 'pixel', not 'cells'"),
            ([None], {"units": "pixel"}, r"image_size: boxes and points in pixels need the images' size \(H, W\)"),
            ([None], {"units": "pixel", "image_size": [(9, 9), (9, 9)]}, "or 1 of these, one a sample"),
            ([None], {"units": "pixel", "image_size": (9, 0)}, r"image_size must be \(H, W\) in pixels"),
        ],
    )
    def test_wrong_ones(self, boxes, options, message):
        with pytest.raises(InputError, match=message):
            grounding_targets((2, 2), boxes=boxes, **options)


class TestPoints:
    def test_the_cell(self):
        masks, supervised = grounding_targets((2, 4), points=[[(0.3, 0.7), (1.0, 0.0)], None], point_sigma=0)
        assert torch.equal(masks[0], torch.tensor([[0.0, 0, 0, 1], [0, 1, 0, 0]]))
        assert supervised.tolist() == [True, False]

    def test_a_gaussian(self):
        masks = grounding_targets((8, 8), points=[(0.5, 0.5)], point_sigma=1.0).masks[0]
        assert masks.max() == 1
        assert torch.allclose(masks, masks.flip(0))
        assert torch.allclose(masks, masks.T)
        assert masks[3, 2].item() == pytest.approx(math.exp(-((1.5**2 - 0.5**2) / 2)), rel=1e-5)

    def test_pixels(self):
        masks = grounding_targets((2, 2), points=[(30, 5)], units="pixel", image_size=(20, 40), point_sigma=0).masks
        assert torch.equal(masks[0], torch.tensor([[0.0, 1], [0, 0]]))

    @pytest.mark.parametrize(
        ("points", "options", "message"),
        [
            ([[(3.0, 0.5)]], {}, "points: sample 0 reaches outside the image"),
            (
                [[(50, 5)]],
                {"units": "pixel", "image_size": (20, 40)},
                "points: sample 0 holds a point outside the image",
            ),
            ([[(0.5, 0.5, 0.5)]], {}, r"points: sample 0 must be rows of \(x, y\)"),
            ([None], {"point_sigma": -1.0}, r"point_sigma must be 0 \(the cell\) or above, in cells; got -1"),
            ([None], {"point_sigma": math.nan}, "point_sigma must be 0"),
        ],
    )
    def test_wrong_ones(self, points, options, message):
        with pytest.raises(InputError, match=message):
            grounding_targets((2, 2), points=points, **options)


class TestTogether:
    def test_each_sample_its_own_kind(self):
        masks, supervised = grounding_targets(
            (2, 2),
            masks=[torch.eye(2), None, None, torch.eye(2)],
            boxes=[None, [(0, 0, 0.5, 0.5)], None, [(0.5, 0, 1, 0.5)]],
            points=[None, None, [(0.9, 0.9)], None],
            point_sigma=0,
            supervised=[True, True, True, False],
        )
        union = torch.tensor([[1.0, 1], [0, 1]])
        assert torch.equal(masks, torch.stack([torch.eye(2), torch.tensor([[1.0, 0], [0, 0]]), masks[2], union]))
        assert masks[2, 1, 1] == 1
        assert supervised.tolist() == [True, True, True, False]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "targets: give masks=, boxes= or points="),
            (
                {"masks": torch.ones(2, 2, 2), "boxes": [None]},
                r"masks, boxes must be of one batch, got lengths \[2, 1\]",
            ),
            ({"masks": torch.ones(2, 2, 2), "supervised": [True]}, r"supervised must be \(2,\) bool, got \(1,\) bool"),
            ({"masks": torch.ones(1, 2, 2), "supervised": [1]}, r"supervised must be \(1,\) bool, got \(1,\) int64"),
        ],
    )
    def test_wrong_ones(self, options, message):
        with pytest.raises(InputError, match=message):
            grounding_targets((2, 2), **options)

    def test_a_grid_of_nothing(self):
        with pytest.raises(InputError, match=r"grid must be \(h, w\), each at least 1, got \(0, 2\)"):
            grounding_targets((0, 2), boxes=[None])

    def test_device(self):
        made = grounding_targets(
            (2, 2), boxes=[[(0, 0, 1, 1)]], masks=torch.ones(1, 3, 3), device="meta", validate=False
        )
        assert isinstance(made, GroundingTargets)
        assert made.masks.device.type == made.supervised.device.type == "meta"


class TestPartners:
    def test_the_union_of_the_others(self):
        masks = torch.eye(4)[:, None]
        partners = partner_masks(masks, torch.tensor([0, 0, 1, 0]))
        assert partners[:, 0].tolist() == [[0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]

    def test_shapes(self):
        with pytest.raises(InputError, match=r"groups must have shape \(2,\), one image a sample, not \(3,\)"):
            partner_masks(torch.zeros(2, 2, 2), torch.zeros(3))
