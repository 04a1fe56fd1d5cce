"""Grad-ECLIP against plain float64 towers of every family."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.attention.grad_eclip import GradEclip, loosen_attention
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small_models", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)

PATCHES_ALONE = ["timm, average", "timm, average, no class token", "LLaVA"]
POOLED = ["open_clip, attention pool", "open_clip, mean of an attention pool", "SigLIP", "timm, attention pool"]
CLASS_TOKEN = [name for name in small.CASES if name not in {*PATCHES_ALONE, *POOLED}]


def explain(case, method, **changes):
    return MMGrad(case.model, score=case.score, method=method)(**{**case.inputs, **changes})


@pytest.mark.parametrize("name", [*CLASS_TOKEN, *POOLED])
def test_it_is_the_papers_formula_on_every_family(name, same_maps, zoo):
    case = small.CASES[name]()
    with zoo.leaves_alone(case.model):
        explanation = explain(case, "grad-eclip")
    (signed,) = explanation.signed.values()
    same_maps(signed[0], case.grad_eclip(1))
    same_maps(explanation.maps, case.grad_eclip(1).relu())


@pytest.mark.parametrize("name", CLASS_TOKEN)
def test_several_blocks_add_up_before_the_relu(name, same_maps):
    case = small.CASES[name]()
    same_maps(explain(case, GradEclip(blocks=2)).maps, case.grad_eclip(2).relu())


def test_two_blocks_written_by_hand(same_maps, zoo):
    case = small.hand_written(zoo.build(zoo.ViT, depth=2, size=(16, 16)), zoo.pictures(size=(16, 16)))
    (signed,) = explain(case, "grad-eclip").signed.values()
    same_maps(signed[0], case.grad_eclip(1))


@pytest.mark.parametrize("name", PATCHES_ALONE)
def test_a_tower_without_class_token_or_pooler_is_refused_with_a_way_out(name):
    with pytest.raises(InputError, match=r"class token.*legrad"):
        explain(small.CASES[name](), "grad-eclip")


def test_a_pooler_is_one_attention():
    with pytest.raises(InputError, match="blocks=1"):
        explain(small.siglip(), GradEclip(blocks=2))


def test_it_says_where_the_score_reads_the_patches_themselves():
    assert [note.kind for note in explain(small.blip(), "grad-eclip").notes] == ["part-of-score"]
    assert explain(small.clip(), "grad-eclip").notes == ()


def test_a_batch_equals_its_samples(same_maps):
    case = small.clip()
    both = explain(case, "grad-eclip").maps
    for index in range(2):
        alone = explain(case, "grad-eclip", **{name: value[index : index + 1] for name, value in case.inputs.items()})
        same_maps(alone.maps, both[index : index + 1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype, same_maps):
    case = small.clip()
    case.model.to(dtype)
    maps = explain(case, "grad-eclip", pixel_values=case.inputs["pixel_values"].to(dtype)).maps
    assert maps.dtype == torch.float32
    same_maps(maps, case.grad_eclip(1).relu(), share=0.1)


@pytest.mark.parametrize("name", ["CLIP, sdpa", "SigLIP", "timm, registers"])
def test_maps_of_a_training_step_can_be_differentiated(name, same_maps):
    case = small.CASES[name]()
    step = small.Step(case, "grad-eclip")
    same_maps(step.maps().detach(), case.grad_eclip(1).relu())
    torch.testing.assert_close(*step.slopes(), rtol=1e-5, atol=1e-9)


def test_loosened_attention_goes_from_0_to_1_among_the_patches():
    query = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[[-1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [5.0, 0.0]]])
    among = torch.tensor([[False, True, True, True]])
    torch.testing.assert_close(loosen_attention(query, keys, among), torch.tensor([[0.0, 0.0, 0.5**0.5, 1.0]]))
    torch.testing.assert_close(loosen_attention(query, keys), torch.tensor([[0.0, 0.5, (1 + 0.5**0.5) / 2, 1.0]]))
    assert loosen_attention(query, keys[:, 1:2].expand(1, 3, 2)).eq(0).all()


@pytest.mark.parametrize("blocks", [1.0, None, True])
def test_blocks_is_a_whole_number(blocks):
    with pytest.raises(TypeError, match="blocks"):
        GradEclip(blocks=blocks)
