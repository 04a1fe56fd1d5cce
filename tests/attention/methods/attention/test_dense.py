"""Dense readouts against the papers' formulas written out in float64, and the models that they refuse."""

import copy

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention import Layout
from mmgrad_explain.attention.methods.attention.dense import Dense
from mmgrad_explain.errors import InputError

SIDE, HEADS = 4, 2


def probabilities(readout, keys, prefix, std=5.0):
    """What a token attends to: itself, or what has similar keys and lies near; keys (B, H, N, d)."""
    count = keys.shape[2]
    if readout == "maskclip":
        return torch.eye(count, dtype=keys.dtype).expand(*keys.shape[:2], count, count)
    near = torch.zeros(count, count, dtype=keys.dtype)
    for one in range(SIDE * SIDE):
        for other in range(SIDE * SIDE):
            square = (one // SIDE - other // SIDE) ** 2 + (one % SIDE - other % SIDE) ** 2
            near[prefix + one, prefix + other] = torch.tensor(-square / (2 * std**2)).exp()
    logits = torch.einsum("bhnd,bhmd->bhnm", keys, keys) / keys.shape[-1] ** 0.5 + near
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


def attend(readout, x, weights, prefix):
    """Keys and values of normed tokens x (B, N, D), mixed and projected."""
    keys, values = ((f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)) for f in weights[:2])
    return weights[2]((probabilities(readout, keys, prefix) @ values).transpose(1, 2).flatten(2))


def cosines(image, text):
    """(B, N, D) and (B, D) to (B, h, w)."""
    return torch.cosine_similarity(image, text[:, None], dim=-1)[:, -SIDE * SIDE :].unflatten(1, (SIDE, SIDE))


@pytest.fixture
def clip(zoo):
    return zoo.clip(), {"input_ids": zoo.ids(), "pixel_values": zoo.pictures(size=(32, 32))}


def plain_clip(model, inputs, readout):
    exact = copy.deepcopy(model).double().eval()
    inputs = {**inputs, "pixel_values": inputs["pixel_values"].double()}
    block = exact.vision_model.encoder.layers[-1]
    tokens = exact.vision_model(inputs["pixel_values"], output_hidden_states=True).hidden_states[-2]
    weights = block.self_attn.k_proj, block.self_attn.v_proj, block.self_attn.out_proj
    made = attend(readout, block.layer_norm1(tokens), weights, 1)
    image = exact.visual_projection(exact.vision_model.post_layernorm(made))
    return cosines(image, exact(**inputs).text_embeds).detach()


@pytest.mark.parametrize("readout", ["maskclip", "naclip"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_clip(clip, readout, attention, same_maps, zoo):
    model, inputs = clip
    model.set_attn_implementation(attention)
    with zoo.leaves_alone(model):
        found = MMGrad(model, method=Dense(readout, centre=False))(**inputs)
    (signed,) = found.signed["vision_model.encoder.layers.1"]
    expected = plain_clip(model, inputs, readout)
    same_maps(signed, expected)
    centred = MMGrad(model, method=Dense(readout))(**inputs).signed["vision_model.encoder.layers.1"][0]
    same_maps(centred, expected - expected.mean((1, 2), keepdim=True), share=1e-3)


@pytest.fixture
def siglip(zoo):
    from transformers import SiglipConfig, SiglipModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 20, "max_position_embeddings": 8}
    vision = {**small, "image_size": 32, "patch_size": 8}
    model = zoo.build(lambda: SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))
    return model, {"input_ids": zoo.ids(), "pixel_values": zoo.pictures(size=(32, 32))}


@pytest.mark.parametrize("readout", ["maskclip", "naclip"])
def test_siglip_through_the_values_of_its_pooler(siglip, readout, same_maps):
    model, inputs = siglip
    exact = copy.deepcopy(model).double().eval()
    block, head = exact.vision_model.encoder.layers[-1], exact.vision_model.head
    before, after = exact.vision_model(
        inputs["pixel_values"].double(), output_hidden_states=True
    ).hidden_states[-2:]  # fmt: skip
    weights = block.self_attn.k_proj, block.self_attn.v_proj, block.self_attn.out_proj
    tokens = after if readout == "maskclip" else attend(readout, block.layer_norm1(before), weights, 0)
    normed = exact.vision_model.post_layernorm(tokens)
    width, of = normed.shape[-1], head.attention
    values = of.out_proj(normed @ of.in_proj_weight[2 * width :].T + of.in_proj_bias[2 * width :])
    image = values + head.mlp(head.layernorm(values))
    text = exact(**{**inputs, "pixel_values": inputs["pixel_values"].double()}).text_embeds
    (signed,) = MMGrad(model, method=Dense(readout, centre=False))(**inputs).signed["vision_model.encoder.layers.1"]
    same_maps(signed, cosines(image, text).detach())


class OpenClip(nn.Module):
    """open_clip's model, with its output by name."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image, ids):
        image, text, _ = self.model(image, ids)
        return {"image": image, "text": text}


@pytest.mark.parametrize("readout", ["maskclip", "naclip"])
def test_open_clip_with_layer_scale(zoo, readout, same_maps):
    import open_clip

    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "ls_init_value": 0.5}
    model = zoo.build(lambda: OpenClip(open_clip.CLIP(8, vision, text)))
    with torch.no_grad():
        for value in model.model.visual.transformer.resblocks[-1].ls_1.parameters():
            value.uniform_(-1, 1)
    image, ids = zoo.pictures(size=(32, 32)), torch.randint(1, 20, (2, 8), generator=torch.Generator().manual_seed(1))
    exact = copy.deepcopy(model).double().eval()
    visual, seen = exact.model.visual, []
    visual.transformer.resblocks[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    output = exact(image.double(), ids)
    block, of = visual.transformer.resblocks[-1], visual.transformer.resblocks[-1].attn
    _, k, v = of.in_proj_weight.chunk(3)
    _, of_k, of_v = of.in_proj_bias.chunk(3)
    weights = (lambda x: x @ k.T + of_k), (lambda x: x @ v.T + of_v), lambda x: block.ls_1(of.out_proj(x))
    made = attend(readout, block.ln_1(seen[0]), weights, 1)
    expected = cosines(visual.ln_post(made) @ visual.proj, output["text"])
    (signed,) = MMGrad(model, score="image-text", method=Dense(readout, centre=False))(image, ids).signed.popitem()[1]
    same_maps(signed, expected.detach())


@pytest.mark.parametrize("readout", ["maskclip", "naclip"])
def test_a_batch_is_its_samples(clip, readout, same_maps):
    model, inputs = clip
    mmgrad = MMGrad(model, method=Dense(readout))
    batch = mmgrad(**inputs)
    singles = [mmgrad(**{name: value[index, None] for name, value in inputs.items()}) for index in range(2)]
    same_maps(batch.maps, torch.cat([single.maps for single in singles]), share=1e-3)


def test_two_texts_have_two_maps(clip):
    model, inputs = clip
    image = inputs["pixel_values"][:1].expand(2, -1, -1, -1)
    found = MMGrad(model, method="dense")(**{**inputs, "pixel_values": image})
    assert found.method == "dense"
    assert not torch.allclose(found.maps[0], found.maps[1], atol=1e-3)


def test_padding_is_not_attended_to():
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall

    keys = torch.randn(1, 2, 6, 3)
    seen = torch.rand(1, 2, 6, 6)
    seen[..., 4:] = 0
    found = Dense("naclip")._attend(AttentionCall("", 0, 0, seen, keys=keys), Layout("tokens", (2, 2), 0))
    assert found[..., 4:].count_nonzero() == 0
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 2, 6))


def test_a_cnn_and_a_joint_model_are_refused_with_another_method(zoo, cnn, x):
    with pytest.raises(InputError, match="layercam"):
        MMGrad(cnn, score=zoo.class_score(), method="dense")(x)
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ViltConfig(**small, vocab_size=20, max_position_embeddings=8, image_size=32, patch_size=8)
    joint = zoo.build(lambda: ViltForImageAndTextRetrieval(config))
    with pytest.raises(InputError, match="mixes both"):
        MMGrad(joint, method="maskclip")(input_ids=zoo.ids(), pixel_values=zoo.pictures(size=(32, 32)))


@pytest.mark.parametrize(("options", "named"), [({"readout": "sclip"}, "readout"), ({"std": 0}, "std")])
def test_wrong_options_are_named(options, named):
    with pytest.raises(InputError, match=named):
        Dense(**options)


class Read(nn.Module):
    """A vision tower of CLIP beside a text tower without attention, which counts what it computes."""

    def __init__(self, zoo, pool):
        super().__init__()
        self.image, self.words, self.pool = zoo.clip().vision_model, nn.Embedding(20, 8), pool
        self.text, self.out = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 16)

    def forward(self, pixels, ids):
        tokens = self.image(pixels).last_hidden_state
        image = tokens[:, 0] if self.pool == "class" else torch.cat([tokens[:, :1].mean(1), tokens[:, 9]], 1)[:, :16]
        image = image if self.pool != "count" else image * tokens.shape[1] + tokens.sum(1).tanh()
        return {"image": image, "text": self.out(self.text(self.words(ids))[1][0])}


@pytest.mark.parametrize("pool", ["class", "place", "count"])
def test_neither_text_nor_head_is_computed_for_every_place(zoo, same_maps, pool, monkeypatch):
    """Also where the head reads a certain place, or counts the tokens: then it sees as many as there are."""
    model = zoo.build(lambda: Read(zoo, pool))
    pixels, ids = zoo.pictures(size=(32, 32)), zoo.ids()
    mmgrad = MMGrad(model, score="image-text", method="dense")
    found = mmgrad(pixels, ids)
    rows, real = [], torch._VF.gru
    monkeypatch.setattr(torch._VF, "gru", lambda words, *args: (rows.append(len(words)), real(words, *args))[1])
    same_maps(mmgrad(pixels, ids).maps, found.maps)
    assert sum(rows) <= 4 * len(ids), "not once for each of 17 tokens"
    monkeypatch.setattr(
        "mmgrad_explain.attention.methods.attention.dense.find_steady_modules",
        lambda root, forwards, batch: [forward() for forward in forwards] and {},
    )
    rows.clear()
    same_maps(mmgrad(pixels, ids).maps, found.maps)
    assert sum(rows) > 17 * len(ids), "everything is computed again, with the same result"
