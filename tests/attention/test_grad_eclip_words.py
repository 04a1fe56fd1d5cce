"""The text side of Grad-ECLIP against a plain float64 text tower."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain.attention.grad_eclip_words import word_relevance
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location(
    "small_models", Path(__file__).with_name("methods") / "attention" / "small_models.py"
)
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


def ends_early(ids):
    ids = ids.clone()
    ids[0, 4:] = torch.tensor([19, 0])  # the end token, and padding behind it
    return ids


def plain_words(model, inputs, last, among=None):
    """CLIP's text tower in float64, sample by sample and only up to its end token."""
    exact = small.plain.exactly(model)
    image = exact.visual_projection(exact.vision_model(inputs["pixel_values"].double()).pooler_output)
    rows = torch.zeros(inputs["input_ids"].shape).double()
    for number, ids in enumerate(inputs["input_ids"]):
        end = ids.tolist().index(19)
        tokens = exact.text_model.embeddings(ids[None, : end + 1])
        allowed = torch.ones(end + 1, end + 1).tril().bool()
        steps = []
        for layer in exact.text_model.encoder.layers:
            one, normed = layer.self_attn, layer.layer_norm1(tokens)
            q, k, v = one.q_proj(normed), one.k_proj(normed), one.v_proj(normed)
            split = [x.unflatten(-1, (one.num_heads, -1)).transpose(1, 2) for x in (q, k, v)]
            logits = split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5
            attended = logits.masked_fill(~allowed, -torch.inf).softmax(-1) @ split[2]
            attended = (
                attended.transpose(1, 2).flatten(2).detach().requires_grad_()
                if not steps
                else (attended.transpose(1, 2).flatten(2))
            )
            steps.append((q[0, end], k[0], v[0], attended))
            tokens = tokens + one.out_proj(attended)
            tokens = tokens + layer.mlp(layer.layer_norm2(tokens))
        text = exact.text_projection(exact.text_model.final_layer_norm(tokens[:, end]))
        score = small.plain.cosine(image[number : number + 1], text)
        chosen = slice(0, end + 1) if among is None else among[number, : end + 1]
        for query, keys, values, attended in steps[-last:]:
            gradient = torch.autograd.grad(score.sum(), attended, retain_graph=True)[0][0, end]
            alike = small.plain.cosine(query[None], keys)[chosen]
            loosened = (alike - alike.min()) / (alike.max() - alike.min())
            rows[number, : end + 1][chosen] += (loosened * (values[chosen] @ gradient)).detach()
    return rows.detach()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_it_is_the_formula_at_the_end_token(attention, blocks, same_maps, zoo):
    case = small.clip(attention)
    inputs = {**case.inputs, "input_ids": ends_early(case.inputs["input_ids"])}
    with zoo.leaves_alone(case.model):
        found = word_relevance(case.model, inputs, blocks=blocks)
    same_maps(found, plain_words(case.model, inputs, blocks))
    assert found[0, 5] == 0  # nothing attends to padding


def test_the_attention_can_be_scaled_over_the_words_alone(same_maps):
    case = small.clip()
    among = torch.tensor([[False, True, True, True, True, False]]).expand(2, -1)
    same_maps(word_relevance(case.model, case.inputs, among=among), plain_words(case.model, case.inputs, 1, among))


def test_open_clip_is_read_at_its_end_token_too():
    case = small.open_clip()
    assert (word_relevance(case.model, case.inputs)[:, :-1] != 0).sum() >= 8


def test_models_without_a_text_tower_are_refused_with_a_way_out():
    case = small.timm_vit()
    with pytest.raises(InputError, match="words=True"):
        word_relevance(case.model, case.inputs, score=case.score)


def test_a_text_that_is_read_at_all_its_tokens_is_refused_with_a_way_out():
    from transformers import SiglipConfig

    case = small.siglip()
    assert isinstance(case.model.config, SiglipConfig)
    kept = case.model.text_model.forward

    def mean_of_tokens(*args, **kwargs):
        output = kept(*args, **kwargs)
        output.pooler_output = output.last_hidden_state.mean(1)
        return output

    case.model.text_model.forward = mean_of_tokens
    with pytest.raises(InputError, match=r"several tokens.*words=True"):
        word_relevance(case.model, case.inputs)
