"""Two pictures: each map says which it is of, has that picture's size, and is drawn on no other."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad, MMGradAttribution, candidate_layers
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import sides_with_maps


class Cir(nn.Module):
    """Reference, modifier text and target; the target alone goes through one more layer, which runs last."""

    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
        self.words, self.fuse, self.target_proj = nn.Embedding(60, 32), nn.Linear(64, 16), nn.Conv2d(32, 16, 1)

    def look(self, reference, target):
        return self.cnn(reference), self.cnn(target)

    def forward(self, reference, ids, target):
        seen, wanted = self.look(reference, target)
        query = self.fuse(torch.cat([seen.mean((2, 3)), self.words(ids).mean(1)], 1))
        return torch.cosine_similarity(query, self.target_proj(wanted).mean((2, 3)))


class TargetFirst(Cir):
    def look(self, reference, target):
        wanted = self.cnn(target)
        return self.cnn(reference), wanted


class Together(Cir):
    """Both in one batch, the target's rows first."""

    def look(self, reference, target):
        wanted, seen = self.cnn(torch.cat([target, reference])).chunk(2)
        return seen, wanted


class Interleaved(Cir):
    def look(self, reference, target):
        grids = self.cnn(torch.stack([reference, target], 1).flatten(0, 1)).unflatten(0, (-1, 2))
        return grids[:, 0], grids[:, 1]


class Unseen(Cir):
    """Without gradients up to the layer, so that no graph leads to the pictures."""

    def look(self, reference, target):
        with torch.no_grad():
            return super().look(reference, target)


def build(kind=Cir):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return kind().eval()


def given(batch=1, reference=(64, 96), target=(96, 64)):
    draw = torch.Generator().manual_seed(1)
    return (
        torch.rand(batch, 3, *reference, generator=draw),
        torch.randint(60, (batch, 5), generator=draw),
        torch.rand(batch, 3, *target, generator=draw),
    )


def expected(reference, ids, target):
    """Grad-CAM of both pictures, by hand."""
    model = build()
    grids = [model.cnn(one).detach().requires_grad_() for one in (reference, target)]
    query = model.fuse(torch.cat([grids[0].mean((2, 3)), model.words(ids).mean(1)], 1))
    score = torch.cosine_similarity(query, model.target_proj(grids[1]).mean((2, 3)))
    gradients = torch.autograd.grad(score.sum(), grids)
    return [(g.mean((2, 3), keepdim=True) * a).sum(1).relu().detach() for a, g in zip(grids, gradients, strict=True)]


class TestFoundByItself:
    def test_the_references_map_by_default(self):
        made = MMGrad(build())(*given())
        assert (made.layer_names, made.image_names, made.image_of_calls) == (("cnn",), ("reference", "target"), (0, 1))
        assert (made.input_size, made.image_sizes) == ((64, 96), ((64, 96), (96, 64)))
        for one, by_hand in zip(made.calls, expected(*given()), strict=True):
            torch.testing.assert_close(one, by_hand)
        assert torch.equal(made.maps, made.calls[0])
        assert (made.heatmap().shape, made.heatmap(target=True).shape) == ((64, 96), (96, 64))
        assert "of reference, 2 calls" in repr(made)

    def test_what_is_listed(self):
        found = {one.name: one for one in candidate_layers(build(), *given())}
        assert [name for name, one in found.items() if one.chosen] == ["cnn"]
        assert found["cnn"].image_names == ("reference", "target")
        assert found["target_proj"].image_names == ("target",)

    @pytest.mark.parametrize("kind", [Cir, TargetFirst, Together, Interleaved])
    @pytest.mark.parametrize("batch", [1, 3])
    def test_of_equal_size_however_the_model_looks_at_them(self, kind, batch):
        inputs = given(batch, target=(64, 96))
        mmgrad = MMGrad(build(kind))
        for _ in range(2):  # the second call knows already
            made = mmgrad(*inputs)
            assert (made.layer_names, made.image_of_calls) == (("cnn",), (0, 1))
            for one, by_hand in zip(made.calls, expected(*inputs), strict=True):
                torch.testing.assert_close(one, by_hand)

    def test_the_order_of_the_models_parameters_counts(self):
        reference, ids, target = given()
        made = MMGrad(build())(target=target, ids=ids, reference=reference)
        assert made.image_names == ("reference", "target")
        torch.testing.assert_close(made.maps, expected(reference, ids, target)[0])

    def test_how_often_the_model_runs(self):
        runs = []

        class Counting(Cir):
            def forward(self, *inputs):
                runs.append(1)
                return super().forward(*inputs)

        mmgrad = MMGrad(build(Counting))
        mmgrad(*given())
        mmgrad(*given())
        assert len(runs) == 6, "five and one: the graph says which picture a call hangs on"


class TestNamed:
    @pytest.mark.parametrize("kind", [Cir, TargetFirst, Unseen])
    def test_each_picture_has_its_own(self, kind):
        made = MMGrad(build(kind), "cnn")(*given())
        assert made.image_of_calls == (0, 1)
        for one, by_hand in zip(made.calls, expected(*given()), strict=True):
            torch.testing.assert_close(one, by_hand)

    def test_of_the_target_alone(self):
        made = MMGrad(build(), "target_proj")(*given())
        assert (sides_with_maps(made), made.maps.shape, made.heatmap(target=True).shape) == (
            (True,),
            (1, 12, 8),
            (96, 64),
        )
        assert str(made.notes[-1]) == "the map is of target: the layer does not depend on reference"
        for ask in (made.heatmap, made.peak, lambda: made.overlay(image=torch.rand(3, 64, 96))):
            with pytest.raises(InputError, match="of 'target': the layer does not depend on 'reference'; ask"):
                ask()
        with pytest.raises(InputError, match="target: the explanation does not know its image: pass target="):
            made.overlay()
        assert made.overlay(target=torch.rand(3, 96, 64)).width > 0
        assert made.manifest()["image_of_calls"] == [1]
        assert "map of the target" in made._repr_html_()

    @pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random map may be empty
    def test_of_the_reference_alone(self):
        class Apart(Cir):
            def __init__(self):
                super().__init__()
                self.reference_proj = nn.Conv2d(32, 32, 1)

            def look(self, reference, target):
                seen, wanted = super().look(reference, target)
                return self.reference_proj(seen), wanted

        made = MMGrad(build(Apart), "reference_proj")(*given())
        assert sides_with_maps(made) == (False,)
        with pytest.raises(InputError, match="target: there is no map of 'target': the layer does not depend on it"):
            made.heatmap(target=True)

    def test_several_layers_are_fused_picture_by_picture(self):
        model = build()
        both = MMGrad(model, ["cnn", "target_proj"])(*given())
        alone = MMGrad(model, "cnn")(*given())
        torch.testing.assert_close(both.maps, alone.maps)
        assert [tuple(one.shape) for one in both.calls] == [(1, 8, 12), (1, 12, 8)]
        assert not torch.allclose(both.calls[1], alone.calls[1])
        assert tuple(map(str, both.notes)) == (
            "layer 'target_proj' does not run on reference and has no part in its map",
        )

    def test_a_layer_that_hangs_on_both_lies_on_one(self):
        class Crossed(nn.Module):
            def __init__(self):
                super().__init__()
                self.cnn, self.late = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 1)

            def forward(self, reference, target):
                there = self.cnn(target) * self.cnn(reference).mean((2, 3), keepdim=True)
                return self.late(there).square().mean((1, 2, 3))

        reference, _, target = given(2)
        made = MMGrad(build(Crossed), "late")(reference, target)
        assert (made.image_of_calls, sides_with_maps(made)) == ((1,), (True,))
        assert str(made.notes[0]) == "layer 'late' depends on reference and target; its cells are drawn on target"

    def test_one_picture_has_no_target_however_often_the_layer_runs(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.cnn = nn.Conv2d(3, 8, 8, 8)

            def forward(self, x):
                return self.cnn(x).mean((1, 2, 3)) + self.cnn(x.flip(3)).square().mean((1, 2, 3))

        made = MMGrad(build(Twice), "cnn")(given()[0])
        assert (len(made.calls), sides_with_maps(made)) == (2, (False,))
        assert tuple(map(str, made.notes)) == ("the layer ran 2 times on x: the map is of its first call",)
        with pytest.raises(InputError, match="there is no map of a target"):
            made.heatmap(target=True)

    def test_captum_does_not_take_one_pictures_map_for_anothers(self):
        reference, ids, target = given()
        method = MMGradAttribution(build(), "target_proj")
        with pytest.raises(
            InputError, match="inputs: the layer's maps are of target: choose a layer that runs once on"
        ):
            method.attribute(reference, additional_forward_args=(ids, target))
