"""Finding layers by name or by object, in wrapped models too."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.attention.running.modules import (
    every_module,
    find_layers,
    find_previous_block,
    list_parents,
    map_parents,
    plain_modules,
    replaced_forwards,
    unwrap,
)
from mmgrad_explain.errors import InputError


@pytest.fixture
def model(zoo):
    return zoo.build(zoo.TwoInput)


class Sharded(nn.Module):
    """Keeps its module as ``module`` and does work of its own in a forward, as FSDP does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


class TestFindLayers:
    def test_by_name_and_by_object(self, model):
        assert find_layers(model, "tower.body") == {"tower.body": model.tower.body}
        assert find_layers(model, model.tower.body) == {"tower.body": model.tower.body}
        both = find_layers(model, ["fusion", model.tower.stem])
        assert list(both) == ["fusion", "tower.stem"]

    def test_a_sequential_is_one_layer(self, zoo):
        block = zoo.build(zoo.Block)
        assert list(find_layers(block, block.mlp)) == ["mlp"]

    def test_second_name_of_a_shared_module(self, model):
        model.alias = model.tower
        assert find_layers(model, "alias.body") == {"alias.body": model.tower.body}

    @pytest.mark.parametrize(("wanted", "near"), [("tower.bod", "'tower.body'"), ("fuson", "'fusion'")])
    def test_unknown_name_suggests_the_nearest(self, model, wanted, near):
        with pytest.raises(InputError, match=rf"TwoInput has no layer '{wanted}'; did you mean .*{near}"):
            MMGrad(model, wanted)

    def test_unknown_name_like_nothing(self, model):
        with pytest.raises(InputError, match=r"has no layer 'zzz'$"):
            find_layers(model, "zzz")

    def test_a_module_of_another_model(self, zoo, model):
        with pytest.raises(InputError, match=r"this Conv2d is not a part of the model TwoInput"):
            MMGrad(model, zoo.build(zoo.TwoInput).fusion)

    @pytest.mark.parametrize("wanted", [3, [3], ["fusion", None], {"fusion"}])
    def test_wrong_types(self, model, wanted):
        with pytest.raises(TypeError, match="target_layers must "):
            MMGrad(model, wanted)

    def test_empty(self, model):
        with pytest.raises(InputError, match="target_layers is empty"):
            MMGrad(model, [])

    def test_a_list_that_is_never_called(self, zoo):
        model = zoo.build(zoo.ViT)
        with pytest.raises(InputError, match="target_layers is a ModuleList, which is never called itself"):
            MMGrad(model, model.blocks)

    def test_out_proj(self):
        model = nn.Sequential(nn.MultiheadAttention(4, 1))
        for wanted in ("0.out_proj", model[0].out_proj):
            with pytest.raises(
                InputError, match=r"'0.out_proj' is the out_proj of .* take the attention itself \('0'\)"
            ):
                MMGrad(model, wanted)


class TestWrappers:
    def test_not_a_module(self):
        with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, not function"):
            MMGrad(lambda x: x)

    def test_data_parallel(self, model):
        with pytest.raises(InputError, match=r"nn.DataParallel.*pass model.module, or use DistributedDataParallel"):
            MMGrad(nn.DataParallel(model))

    def test_compiled(self, model):
        compiled = torch.compile(model, backend="aot_eager")
        assert unwrap(compiled) is model
        for name in ("tower.body", "_orig_mod.tower.body"):
            assert find_layers(model, name) == {"tower.body": model.tower.body}
        assert MMGrad(compiled, compiled.tower.body).layer_names == ("tower.body",)

    def test_a_wrapper_that_works_in_its_forward_is_kept(self, zoo, model):
        wrapped = Sharded(model)
        assert unwrap(wrapped) is wrapped
        expected = MMGrad(model, "tower.body", lambda o: o.embedding[:, 0])(zoo.pictures(), zoo.ids())
        for layer in ("tower.body", "module.tower.body", model.tower.body):
            mmgrad = MMGrad(wrapped, layer, lambda o: o.embedding[:, 0])
            assert mmgrad.layer_names == ("module.tower.body",)
            assert torch.equal(mmgrad(zoo.pictures(), zoo.ids()).maps, expected.maps)

    def test_names_without_what_wrappers_add(self, model):
        model.tower = torch.compile(model.tower, backend="aot_eager")
        names = plain_modules(model)
        assert "tower.body" in names
        assert not any("_orig_mod" in name for name in names)


def test_lineage(model):
    assert list_parents(map_parents(model), model.tower.body) == [model.tower.body, model.tower, model]
    assert list_parents(map_parents(model), model) == [model]
    assert list_parents(map_parents(model), nn.Linear(1, 1))[1:] == [model]


def test_every_module(zoo, model):
    model.again, model.none = model.tower.body, None
    model.register_module("nothing", None)
    assert list(every_module(model)) == list(model.modules())
    first = next(one for one in every_module(model) if isinstance(one, nn.Conv2d))
    assert first is next(one for one in model.modules() if isinstance(one, nn.Conv2d))


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("blocks.2", "blocks.1"),
        ("blocks.2.mlp.2", "blocks.2.mlp.1"),
        ("blocks.2.norm2", "blocks.1"),
        ("norm", "blocks.1"),
    ],
)
def test_previous_block(zoo, name, before):
    assert find_previous_block(zoo.build(zoo.ViT), name) == before


def test_no_previous_block(zoo):
    assert find_previous_block(zoo.build(zoo.ViT), "embed") is None
    assert find_previous_block(zoo.build(zoo.ViT), "blocks.0") is None


def test_replaced_forwards_are_put_back_after_an_error_too():
    plain, own = nn.Linear(2, 2), nn.Linear(2, 2)
    own.forward = kept = lambda x: x
    seen = []

    def fail():
        with replaced_forwards({plain: lambda x: 2 * x, own: lambda x: 3 * x}):
            seen.extend([plain(1), own(1)])
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert seen == [2, 3]
    assert own.forward is kept
    assert "forward" not in vars(plain)
