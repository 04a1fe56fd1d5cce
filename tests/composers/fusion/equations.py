"""Each method's equation in plain torch, with nothing of the package; for the tests beside this file."""

import importlib.util
from pathlib import Path

import torch
from torch.func import functional_call
from torch.nn import functional as F

from mmgrad_explain.attention import MMGrad

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def conv(p, name, x):
    weight = p[f"{name}.weight"]
    return F.conv2d(x, weight, p[f"{name}.bias"], padding=weight.shape[-1] // 2)


def norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def attend(p, name, x, memory, mask, heads=2):
    query = linear(p, f"{name}.query", x)
    key, value = linear(p, f"{name}.key_value", memory).chunk(2, -1)
    query, key, value = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
    return linear(p, f"{name}.out", mixed.transpose(1, 2).flatten(2))


def mlp(p, name, x):
    return linear(p, f"{name}.mlp.2", F.gelu(linear(p, f"{name}.mlp.0", norm(p, f"{name}.norm2", x))))


def tirg(p, i, t, **_):
    both = torch.cat([i, t], 1)
    gate = linear(p, "gate.2", linear(p, "gate.0", both).relu()).sigmoid() * i
    residual = linear(p, "residual.2", linear(p, "residual.0", both).relu())
    return p["weights"][0] * gate + p["weights"][1] * residual


def tirg_spatial(p, i, t, grid, **_):
    both = torch.cat([grid, t[:, :, None, None] * torch.ones_like(grid[:, :1])], 1)
    gate = conv(p, "gate.2", conv(p, "gate.0", both).relu()).sigmoid() * grid
    residual = conv(p, "residual.2", conv(p, "residual.0", both).relu())
    changed = p["weights"][0] * gate + p["weights"][1] * residual
    return i + linear(p, "out", changed.mean((2, 3)) - grid.mean((2, 3)))


def film(p, i, t, grid, **_):
    x = conv(p, "enter", grid).relu()
    for k in range(2):
        h = conv(p, f"blocks.{k}.enter", x).relu()
        y = conv(p, f"blocks.{k}.look", h)
        y = (y - y.mean((1, 2, 3), keepdim=True)) / (y.var((1, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
        gain, bias = linear(p, f"blocks.{k}.modulation", t).chunk(2, 1)
        x = h + ((1 + gain[..., None, None]) * y + bias[..., None, None]).relu()
    return i + linear(p, "out", x.mean((2, 3)))


def cross_attention(p, i, grid, words, mask, asks="patches", **_):
    patches = linear(p, "patches", grid.flatten(2).mT)
    words, seen = linear(p, "words", words), torch.ones(len(i), patches.shape[1]).bool()
    x, own, memory, known = (patches, seen, words, mask) if asks == "patches" else (words, mask, patches, seen)
    for k in range(2):
        x = x + attend(p, f"blocks.{k}.attention", norm(p, f"blocks.{k}.norm1", x), memory, known)
        x = x + mlp(p, f"blocks.{k}", x)
    pooled = torch.stack([one[kept].mean(0) for one, kept in zip(x, own, strict=True)])
    return i + linear(p, "out", norm(p, "norm", pooled))


def combiner(p, i, t, **_):
    both = torch.cat([F.gelu(linear(p, "combiner.image.0", i)), F.gelu(linear(p, "combiner.text.0", t))], 1)
    gate = linear(p, "combiner.gate.2", F.gelu(linear(p, "combiner.gate.0", both))).sigmoid()
    mixed = linear(p, "combiner.mix.3", F.gelu(linear(p, "combiner.mix.0", both)))
    return mixed + gate * t + (1 - gate) * i


def inversion(p, i, speak, text, **_):
    word = linear(p, "word.6", linear(p, "word.3", linear(p, "word.0", i).relu()).relu())
    return speak(word, text)


def qformer(p, i, grid, words, mask, text=True, **_):
    memory = linear(p, "patches", grid.flatten(2).mT)
    seen = torch.ones(len(i), memory.shape[1]).bool()
    queries, spoken = p["queries"].repeat(len(i), 1, 1), linear(p, "words", words)
    if not text:
        spoken, mask = spoken[:, :0], mask[:, :0]
    for k in range(2):
        both = torch.cat([queries, spoken], 1)
        y = norm(p, f"blocks.{k}.norm0", both)
        both = both + attend(p, f"blocks.{k}.itself", y, y, torch.cat([torch.ones(len(i), 3).bool(), mask], 1))
        queries, spoken = both[:, :3], both[:, 3:]
        queries = queries + attend(p, f"blocks.{k}.attention", norm(p, f"blocks.{k}.norm1", queries), memory, seen)
        queries, spoken = queries + mlp(p, f"blocks.{k}", queries), spoken + mlp(p, f"blocks.{k}", spoken)
    return linear(p, "out", norm(p, "norm", queries.mean(1)))


EQUATIONS = {
    "tirg": tirg,
    "tirg-spatial": tirg_spatial,
    "film": film,
    "cross-attention": cross_attention,
    "combiner": combiner,
    "inversion": inversion,
    "qformer": qformer,
}


def spoken_by(model):
    """A prompt with a pseudo-word: one more row in the table of token embeddings."""

    def speak(word, texts):
        table, vectors = model.text_model.embeddings.token_embedding.weight, []
        for vector, text in zip(word, texts, strict=True):
            tail = ["that", *text.split()] if text else []
            ids = [1, 6, 7, 8, len(small_towers.WORDS), *map(small_towers.WORDS.index, tail), 11]
            replaced = {"text_model.embeddings.token_embedding.weight": torch.cat([table, vector[None]])}
            call = {"input_ids": torch.tensor([ids]), "pixel_values": torch.zeros(1, 3, 32, 32)}
            vectors.append(functional_call(model, replaced, (), call).text_embeds[0])
        return torch.stack(vectors)

    return speak


def by_hand(method, composer, model, pixels, texts, **more):
    """Composed embeddings, those without text, those of a gallery, and the layer's output; nothing of the package's."""
    ids = [[1, *map(small_towers.WORDS.index, text.split()), 11] for text in texts]
    width = max(map(len, ids))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    ids = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    outputs = []
    layer = model.vision_model.encoder.layers[-1].layer_norm1
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    seen = model(pixel_values=pixels, input_ids=ids, attention_mask=mask)
    handle.remove()
    parameters = dict(composer.fusion.named_parameters())
    given = {
        "i": seen.image_embeds,
        "t": seen.text_embeds,
        "grid": outputs[0][:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2),
        "words": seen.text_model_output.last_hidden_state,
        "mask": mask.bool(),
        "speak": spoken_by(model),
        **more,
    }
    f = EQUATIONS[method]
    composed = f(parameters, **given, text=texts)
    before = seen.image_embeds
    if method in {"inversion", "qformer"}:
        before = f(parameters, **given, text=[""] * len(texts) if method == "inversion" else False)
    gallery = seen.image_embeds if method == "inversion" else before
    return composed, before, gallery, outputs[0]


def check_equation(method, composer, model, inputs):
    """Compare the composer's outputs with the equation's."""
    output = composer(**inputs)
    composed, before, _, _ = by_hand(method, composer, model, inputs["pixel_values"], small_towers.TEXTS)
    torch.testing.assert_close(output.embedding, composed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.shift, composed - before, atol=1e-5, rtol=1e-4)
    composed, before, gallery, _ = by_hand(method, composer, model, inputs["target_pixel_values"], small_towers.TEXTS)
    torch.testing.assert_close(output.target, gallery, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target_composed, composed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target_shift, composed - before, atol=1e-5, rtol=1e-4)
    assert output.shift.abs().max() > 0.01


def check_map(method, composer, model, inputs, score):
    """Compare the composer's map with Grad-CAM of the equation."""
    explanation = MMGrad(composer, score=score)(**inputs)
    composed, before, _, activation = by_hand(method, composer, model, inputs["pixel_values"], small_towers.TEXTS)
    _, _, gallery, _ = by_hand(method, composer, model, inputs["target_pixel_values"], small_towers.TEXTS)
    shift = composed - before
    value = (shift * shift.detach()).sum() if score == "shift" else torch.cosine_similarity(composed, gallery).sum()
    (gradient,) = torch.autograd.grad(value, activation)
    activation, gradient = (one[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2) for one in (activation, gradient))
    expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach()
    signed = explanation.signed[composer.target_layer][0]
    assert composer.target_layer == "tower.model.vision_model.encoder.layers.1.layer_norm1"
    torch.testing.assert_close(signed / expected.abs().max(), expected / expected.abs().max(), atol=1e-4, rtol=1e-3)
    assert expected.abs().max() > 1e-6
