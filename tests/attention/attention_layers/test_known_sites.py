"""The attention of a model is searched once, for as long as the model keeps its modules."""

import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.attention_layers import known_sites


def count_searches(monkeypatch):
    searches = []
    find = known_sites.find_attention_sites
    monkeypatch.setattr(known_sites, "find_attention_sites", lambda *args: searches.append(1) or find(*args))
    return searches


def test_another_tool_and_another_batch_take_what_is_known(zoo, monkeypatch):
    searches, clip = count_searches(monkeypatch), zoo.clip()
    x, ids = zoo.pictures(2, (32, 32)), torch.tensor([[1, 2, 19], [3, 4, 19]])
    both = MMGrad(clip)(pixel_values=x, input_ids=ids)
    one = MMGrad(clip)(pixel_values=x[:1], input_ids=ids[:1])
    assert both.method == one.method == "relevancy"
    torch.testing.assert_close(one.maps[0], both.maps[0], rtol=1e-4, atol=1e-8)
    assert len(searches) == 1


def test_a_module_that_is_exchanged_is_looked_at(zoo, monkeypatch):
    searches, clip = count_searches(monkeypatch), zoo.clip()
    inputs = {"pixel_values": zoo.pictures(2, (32, 32)), "input_ids": torch.tensor([[1, 2, 19], [3, 4, 19]])}
    MMGrad(clip)(**inputs)
    clip.text_projection = nn.Linear(*reversed(clip.text_projection.weight.shape))
    MMGrad(clip)(**inputs)
    assert len(searches) == 2


def test_one_sample_is_enough_to_search_with(zoo):
    clip, sizes = zoo.clip(), []
    clip.vision_model.register_forward_hook(lambda _, args, kwargs, out: sizes.append(len(out[0])), with_kwargs=True)
    inputs = {"pixel_values": zoo.pictures(3, (32, 32)), "input_ids": torch.tensor([[1, 2, 19]] * 3)}
    MMGrad(clip, method="relevancy")(**inputs)
    assert sizes == [1] * (len(sizes) - 1) + [3]


def test_a_model_that_takes_no_single_sample_is_asked_with_all(zoo):
    clip, sizes = zoo.clip(), []

    def refuse(_module, _args, kwargs):
        sizes.append(len(kwargs["pixel_values"]))
        if sizes[-1] == 1:
            raise ValueError("two at least")

    clip.register_forward_pre_hook(refuse, with_kwargs=True)
    inputs = {"pixel_values": zoo.pictures(3, (32, 32)), "input_ids": torch.tensor([[1, 2, 19]] * 3)}
    assert MMGrad(clip, method="relevancy")(**inputs).maps.shape == (3, 4, 4)
    assert set(sizes) == {1, 3}


def test_a_score_without_a_name_is_looked_at_each_time(zoo, monkeypatch):
    searches, vit, x = count_searches(monkeypatch), zoo.build(zoo.ViT), zoo.pictures()
    for _ in range(2):
        MMGrad(vit, score=zoo.class_score(), method="relevancy")(x)
    assert len(searches) == 2
