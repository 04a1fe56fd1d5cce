"""Marked places: how pictures are marked, and how often the marked cells changed most."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.attention.places.marked_places import mark_images, refuse_packed, share_found
from mmgrad_explain.errors import InputError

PLACE = ((0.5, 0.75), (0.25, 0.5))
SIZE, GRID = (32, 48), (4, 6)


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


class TestCellsThatDoNotLieInPlace:
    """What looks like a grid by its shape and is none."""

    class Reordering(nn.Module):
        """Patches in another order behind ``before``; the last layer gives as many tokens as there are patches."""

        def __init__(self, zoo, reorder):
            super().__init__()
            self.cut, self.before, self.after = nn.Conv2d(3, 8, 8, 8), zoo.Block(8), zoo.Block(8)
            self.reorder = reorder

        def forward(self, x):
            x = self.before(self.cut(x).flatten(2).transpose(1, 2))
            return self.after(self.reorder(x)).square().mean((1, 2))

    @staticmethod
    def shuffle(x):
        order = torch.rand(x.shape[:2]).argsort(1)
        return x.gather(1, order[..., None].expand(x.shape))

    @staticmethod
    def windows(x):
        return x.unflatten(1, (2, 2, 2, 3)).transpose(2, 3).flatten(1, 4)

    @staticmethod
    def exchange(x):
        return x.unflatten(1, GRID).transpose(1, 2).flatten(1, 2)

    @staticmethod
    def groups(x):
        weights = (x @ x.mean(1, keepdim=True).transpose(1, 2) + torch.arange(24.0)).transpose(1, 2).softmax(1)
        return weights @ x

    @pytest.mark.parametrize("reorder", ["shuffle", "windows", "exchange", "groups"])
    def test_is_not_chosen(self, zoo, reorder):
        model = zoo.build(self.Reordering, zoo, getattr(self, reorder))
        x = zoo.pictures(2, SIZE)
        with zoo.leaves_alone(model):
            found = candidate_layers(model, x)
            explanation = MMGrad(model)(x)
        assert explanation.layer_names == ("before",)
        assert not any(one.name.startswith("after") for one in found)
        assert zoo.finds_cells(model, "before", zoo.tokens(0, GRID), model, x)

    def test_order_that_is_kept_is_found(self, zoo):
        model = zoo.build(self.Reordering, zoo, lambda x: x + 1)
        assert MMGrad(model)(zoo.pictures(2, SIZE)).layer_names == ("after",)

    def test_noise_of_the_models_own_does_not_hide_the_place(self, zoo):
        model = zoo.build(self.Reordering, zoo, lambda x: x + 3 * torch.randn_like(x))
        assert MMGrad(model)(zoo.pictures(2, SIZE)).layer_names == ("after",)

    def test_a_layer_that_runs_for_some_pictures_only(self, zoo):
        """What is not called, or gives another shape, for the marked picture cannot be told."""

        class Choosing(self.Reordering):
            first = None

            def __init__(self, zoo):
                super().__init__(zoo, lambda x: x)
                self.seldom, self.shrinks = nn.Linear(8, 8), nn.Linear(8, 8)

            def forward(self, x):
                known = Choosing.first is None or torch.equal(x, Choosing.first)
                Choosing.first = x.detach().clone() if Choosing.first is None else Choosing.first
                x = self.before(self.cut(x).flatten(2).transpose(1, 2))
                x = self.seldom(x) if known else x
                return self.shrinks(x if known else x[:, :12]).square().mean((1, 2))

        assert MMGrad(zoo.build(Choosing, zoo))(zoo.pictures(2, SIZE)).layer_names == ("before",)

    def test_padding_shifts_the_grid(self, zoo):
        model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(4, 4, 5), nn.Flatten())
        model = nn.Sequential(model, nn.Linear(4 * 7 * 11, 1)).eval()
        found = candidate_layers(model, zoo.pictures(1, SIZE))
        assert [one.name for one in found] == ["0.0", "0.2"]

    def test_a_layer_on_windows_says_so(self, zoo):
        class Windows(nn.Module):
            def __init__(self):
                super().__init__()
                self.cut, self.inside, self.out = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 1)

            def forward(self, x):
                x = self.cut(x).unflatten(2, (2, 4)).unflatten(4, (3, 4)).permute(0, 2, 4, 3, 5, 1)
                x = x + self.inside(x.flatten(3, 4).flatten(0, 2)).view(x.shape)
                return self.out(x.flatten(1, 4).mean(1))

        model = zoo.build(Windows)
        assert MMGrad(model)(zoo.pictures(2, SIZE)).layer_names == ("cut",)
        message = (
            r"a batch of 12, 6 for each. If that layer works on parts of images \(windows, tiles, frames\), choose"
        )
        with pytest.raises(InputError, match=message):
            MMGrad(model, "inside")(zoo.pictures(2, SIZE))
