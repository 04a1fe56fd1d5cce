"""Random weights with published names, and what the papers' networks compute with them, in plain torch."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

WIDTH, SIZE, PATCH, SIDE, LENGTH, WORDS = 32, 24, 8, 32, 12, 49408
"""Of the towers, the embeddings, patches, images, and texts; the vocabulary is that of CLIP's own tokenizer."""


def random(shapes):
    return {
        name: 1 + 0.1 * torch.randn(shape) if (".ln_" in f".{name}" or "norm" in name.lower()) and "weight" in name else
        torch.randn(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)
        for name, shape in shapes.items()
    }  # fmt: skip


def linears(**sizes):
    """Shapes of linear layers; a key's double underscore stands for a dot."""
    for name, (out, into) in sizes.items():
        yield f"{name.replace('__', '.')}.weight", (out, into)
        yield f"{name.replace('__', '.')}.bias", (out,)


def clip_weights():
    """Of a small vision transformer with OpenAI's names."""
    shapes = {
        "positional_embedding": (LENGTH, WIDTH), "text_projection": (WIDTH, SIZE), "logit_scale": (),
        "visual.class_embedding": (WIDTH,), "visual.positional_embedding": (17, WIDTH), "visual.proj": (WIDTH, SIZE),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH), "token_embedding.weight": (WORDS, WIDTH),
    }  # fmt: skip
    for norm in ("visual.ln_pre", "visual.ln_post", "ln_final"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    for tower in ("visual.", ""):
        for block in range(2):
            start = f"{tower}transformer.resblocks.{block}."
            shapes |= {f"{start}{norm}.{part}": (WIDTH,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
            shapes |= {f"{start}attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{start}attn.in_proj_bias": (3 * WIDTH,)}
            own = linears(attn__out_proj=(WIDTH, WIDTH), mlp__c_fc=(4 * WIDTH, WIDTH), mlp__c_proj=(WIDTH, 4 * WIDTH))
            shapes |= {f"{start}{name}": shape for name, shape in own}
    sizes = {"input_resolution": SIDE, "context_length": LENGTH, "vocab_size": WORDS}
    return random(shapes) | {name: torch.tensor(value) for name, value in sizes.items()}


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def block(w, start, x, *, causal):
    y = norm(w, f"{start}ln_1", x)
    q, k, v = F.linear(y, w[f"{start}attn.in_proj_weight"], w[f"{start}attn.in_proj_bias"]).chunk(3, -1)
    x = x + linear(w, f"{start}attn.out_proj", F.scaled_dot_product_attention(q, k, v, is_causal=causal))
    y = linear(w, f"{start}mlp.c_fc", norm(w, f"{start}ln_2", x))
    return x + linear(w, f"{start}mlp.c_proj", y * torch.sigmoid(1.702 * y))


def clip_image(w, pixels):
    x = F.conv2d(pixels, w["visual.conv1.weight"], stride=PATCH).flatten(2).mT
    x = torch.cat([w["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + w["visual.positional_embedding"]
    x = norm(w, "visual.ln_pre", x)
    for number in range(2):
        x = block(w, f"visual.transformer.resblocks.{number}.", x, causal=False)
    return norm(w, "visual.ln_post", x[:, 0]) @ w["visual.proj"]


def clip_text(w, ids, word=None, place=None):
    """With ``word``, ``(B, W)`` takes the place of the token there."""
    x = w["token_embedding.weight"][ids]
    if word is not None:
        x[:, place] = word
    x = x + w["positional_embedding"]
    for number in range(2):
        x = block(w, f"transformer.resblocks.{number}.", x, causal=True)
    return norm(w, "ln_final", x)[torch.arange(len(ids)), ids.argmax(1)] @ w["text_projection"]


def combiner_weights(width=20, hidden=28):
    return random(dict(linears(
        text_projection_layer=(width, SIZE), image_projection_layer=(width, SIZE), combiner_layer=(hidden, 2 * width),
        output_layer=(SIZE, hidden), dynamic_scalar__0=(hidden, 2 * width), dynamic_scalar__3=(1, hidden),
    )))  # fmt: skip


def combine(w, image, text):
    both = torch.cat(
        [linear(w, "text_projection_layer", text).relu(), linear(w, "image_projection_layer", image).relu()], -1
    )
    share = linear(w, "dynamic_scalar.3", linear(w, "dynamic_scalar.0", both).relu()).sigmoid()
    mixed = linear(w, "output_layer", linear(w, "combiner_layer", both).relu())
    return F.normalize(mixed + share * text + (1 - share) * image, dim=-1)


def phi_weights(hidden=20):
    sizes = {"layers__0": (hidden, SIZE), "layers__3": (hidden, hidden), "layers__6": (WIDTH, hidden)}
    return random(dict(linears(**sizes)))


def phi(w, image):
    x = F.gelu(linear(w, "layers.0", image))
    return linear(w, "layers.6", F.gelu(linear(w, "layers.3", x)))


def im2text_weights(hidden=20):
    sizes = {"layers__0__0": (hidden, SIZE), "layers__1__0": (hidden, hidden), "fc_out": (WIDTH, hidden)}
    return random(dict(linears(**sizes)))


def im2text(w, image):
    return linear(w, "fc_out", linear(w, "layers.1.0", linear(w, "layers.0.0", image).relu()).relu())


def target_pad(image, side, ratio=1.25):
    """The preprocessing ``targetpad``: black bars, then CLIP's resize, crop and values."""
    w, h = image.size
    if max(w, h) / min(w, h) >= ratio:
        long = max(w, h) / ratio
        x, y = (max(int((long - one) / 2), 0) for one in (w, h))
        image = ImageOps.expand(image, (x, y, x, y), 0)
    short = min(image.size)
    image = image.resize([int(side * one / short) for one in image.size], Image.Resampling.BICUBIC)
    left, top = (round((one - side) / 2) for one in image.size)
    pixels = torch.from_numpy(np.array(image.crop((left, top, left + side, top + side)))).permute(2, 0, 1) / 255
    mean, std = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


# ------------------------------------------------------------------------------------------------------------- SPRC

VIT, LARGE, INNER, QUERIES, KNOWN = 176, 64, 128, 5, 14
"""Widths of ViT-g (two heads of 88), ViT-L (one of 64) and Q-Former (two of 64), queries, vocabulary."""


def vit_g_shapes():
    """Of two blocks of EVA's ViT-g in LAVIS's code."""
    shapes = {
        "visual_encoder.cls_token": (1, 1, VIT), "visual_encoder.pos_embed": (1, 17, VIT),
        "visual_encoder.patch_embed.proj.weight": (VIT, 3, 8, 8), "visual_encoder.patch_embed.proj.bias": (VIT,),
    }  # fmt: skip
    norms = [f"visual_encoder.blocks.{i}.norm{n}" for i in range(2) for n in (1, 2)]
    shapes |= {f"{name}.{part}": (VIT,) for name in norms for part in ("weight", "bias")}
    for i in range(2):
        own = f"visual_encoder.blocks.{i}."
        shapes |= {f"{own}attn.q_bias": (VIT,), f"{own}attn.v_bias": (VIT,), f"{own}attn.qkv.weight": (3 * VIT, VIT)}
        sizes = {"attn.proj": (VIT, VIT), "mlp.fc1": (40, VIT), "mlp.fc2": (VIT, 40)}
        shapes |= dict(linears(**{f"{own}{name}".replace(".", "__"): size for name, size in sizes.items()}))
    return shapes


def vit_l_shapes():
    """Of two blocks of CLIP's ViT-L in LAVIS's code: it ends before CLIP's own last norm."""
    own = "visual_encoder."
    shapes = {
        f"{own}class_embedding": (LARGE,), f"{own}positional_embedding": (17, LARGE),
        f"{own}conv1.weight": (LARGE, 3, 8, 8), f"{own}ln_pre.weight": (LARGE,), f"{own}ln_pre.bias": (LARGE,),
    }  # fmt: skip
    for i in range(2):
        start = f"{own}transformer.resblocks.{i}."
        shapes |= {f"{start}{norm}.{part}": (LARGE,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        shapes |= {f"{start}attn.in_proj_weight": (3 * LARGE, LARGE), f"{start}attn.in_proj_bias": (3 * LARGE,)}
        sizes = linears(attn__out_proj=(LARGE, LARGE), mlp__c_fc=(96, LARGE), mlp__c_proj=(LARGE, 96))
        shapes |= {f"{start}{name}": shape for name, shape in sizes}
    return shapes


def sprc_weights(large=False):
    """Of a small SPRC with LAVIS's names: two blocks, two layers, of which the first looks at the image."""
    width = LARGE if large else VIT
    shapes = vit_l_shapes() if large else vit_g_shapes()
    shapes |= {
        "ln_vision.weight": (width,), "ln_vision.bias": (width,),
        "query_tokens": (1, QUERIES, INNER), "prompt_tokens": (1, QUERIES, INNER),
        "Qformer.bert.embeddings.word_embeddings.weight": (KNOWN, INNER),
        "Qformer.bert.embeddings.position_embeddings.weight": (18, INNER), "Qformer.cls.predictions.bias": (KNOWN,),
    }  # fmt: skip
    for i in range(2):
        own = f"Qformer.bert.encoder.layer.{i}."
        inner = {f"attention.self.{part}": (INNER, INNER) for part in ("query", "key", "value")}
        inner |= {"attention.output.dense": (INNER, INNER)}
        if i == 0:
            inner |= {f"crossattention.{part}": (INNER, INNER) for part in ("self.query", "output.dense")}
            inner |= {f"crossattention.self.{part}": (INNER, width) for part in ("key", "value")}
        for kind in ("", "_query"):
            inner |= {f"intermediate{kind}.dense": (24, INNER), f"output{kind}.dense": (INNER, 24)}
        shapes |= dict(linears(**{f"{own}{name}".replace(".", "__"): size for name, size in inner.items()}))
        ends = [name.removesuffix("dense") for name in inner if "output" in name]
        shapes |= {f"{own}{end}LayerNorm.{part}": (INNER,) for end in ends for part in ("weight", "bias")}
    shapes |= {f"Qformer.bert.embeddings.LayerNorm.{part}": (INNER,) for part in ("weight", "bias")}
    shapes |= dict(linears(vision_proj=(SIZE, INNER), text_proj=(SIZE, INNER), itm_head=(2, INNER)))
    return random(shapes) | {"temp": torch.tensor(0.05)}


def attend(query, key, value, heads, mask=None):
    split = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    mixed = F.scaled_dot_product_attention(*split, attn_mask=None if mask is None else mask[:, None, None].bool())
    return mixed.transpose(1, 2).flatten(2)


def see(w, pixels):
    own = "visual_encoder."
    if f"{own}conv1.weight" in w:
        x = F.conv2d(pixels, w[f"{own}conv1.weight"], stride=8).flatten(2).mT
        x = torch.cat([w[f"{own}class_embedding"].expand(len(x), 1, -1), x], 1) + w[f"{own}positional_embedding"]
        x = norm(w, f"{own}ln_pre", x)
        for i in range(2):
            x = block(w, f"{own}transformer.resblocks.{i}.", x, causal=False)
        return norm(w, "ln_vision", x)
    x = F.conv2d(pixels, w[f"{own}patch_embed.proj.weight"], w[f"{own}patch_embed.proj.bias"], stride=8).flatten(2).mT
    x = torch.cat([w[f"{own}cls_token"].expand(len(x), -1, -1), x], 1) + w[f"{own}pos_embed"]
    for i in range(2):
        b = f"{own}blocks.{i}."
        bias = torch.cat([w[f"{b}attn.q_bias"], torch.zeros(VIT), w[f"{b}attn.v_bias"]])
        qkv = F.linear(norm(w, f"{b}norm1", x, 1e-6), w[f"{b}attn.qkv.weight"], bias).chunk(3, -1)
        x = x + linear(w, f"{b}attn.proj", attend(*qkv, 2))
        x = x + linear(w, f"{b}mlp.fc2", F.gelu(linear(w, f"{b}mlp.fc1", norm(w, f"{b}norm2", x, 1e-6))))
    return norm(w, "ln_vision", x)


def former(w, queries, ids, mask, patches):
    """The Q-Former; without an image all tokens go through the text's feed-forward layers."""
    x, own = queries, "Qformer.bert."
    if ids is not None:
        e = f"{own}embeddings."
        words = w[f"{e}word_embeddings.weight"][ids] + w[f"{e}position_embeddings.weight"][: ids.shape[1]]
        x = torch.cat([queries, words], 1)
    x = norm(w, f"{own}embeddings.LayerNorm", x, 1e-12)
    for i in range(2):
        b = f"{own}encoder.layer.{i}."

        def part(name, x, memory, mask, b=b):
            q, k, v = (
                linear(w, f"{b}{name}.self.{one}", y)
                for one, y in zip(("query", "key", "value"), (x, memory, memory), strict=True)
            )
            return norm(
                w,
                f"{b}{name}.output.LayerNorm",
                x + linear(w, f"{b}{name}.output.dense", attend(q, k, v, 2, mask)),
                1e-12,
            )

        def feed(x, kind, b=b):
            y = linear(w, f"{b}output{kind}.dense", F.gelu(linear(w, f"{b}intermediate{kind}.dense", x)))
            return norm(w, f"{b}output{kind}.LayerNorm", x + y, 1e-12)

        x = part("attention", x, x, mask)
        if patches is None:
            x = feed(x, "")
            continue
        first, rest = x[:, :QUERIES], x[:, QUERIES:]
        first = part("crossattention", first, patches, None) if i == 0 else first
        x = torch.cat([feed(first, "_query"), feed(rest, "")], 1)
    return x


def sprc_gallery(w, pixels):
    queries = w["query_tokens"].expand(len(pixels), -1, -1)
    return F.normalize(linear(w, "vision_proj", former(w, queries, None, None, see(w, pixels))), dim=-1)


def sprc_prompt(w, pixels, ids, mask):
    """What the queries became by image and text."""
    queries = w["query_tokens"].expand(len(pixels), -1, -1)
    both = torch.cat([torch.ones(len(ids), QUERIES), mask], 1)
    return former(w, queries, ids, both, see(w, pixels))[:, :QUERIES], both


def sprc_query(w, pixels, ids, mask):
    fused, both = sprc_prompt(w, pixels, ids, mask)
    said = former(w, fused, ids, both, None)
    return F.normalize(linear(w, "text_proj", said[:, QUERIES]), dim=-1)


def sprc_losses(w, pixels, targets, ids, mask):
    """The two losses of SPRC's code beside that of its queries: of the learned prompt, and of its distance."""
    fused, both = sprc_prompt(w, pixels, ids, mask)
    learned = w["prompt_tokens"].expand(len(ids), -1, -1)
    e = "Qformer.bert.embeddings."
    words = w[f"{e}word_embeddings.weight"][ids]
    x = torch.cat([words[:, :1], learned, words[:, 1:]], 1)
    x = x + w[f"{e}position_embeddings.weight"][: x.shape[1]]
    text = F.normalize(linear(w, "text_proj", former(w, x, None, both, None)[:, 0]), dim=-1)
    similar = torch.einsum("bd,nqd->bnq", text, sprc_gallery(w, targets)).amax(2) / w["temp"]
    align = F.mse_loss(fused.mean(1), w["prompt_tokens"].mean(1).expand(len(ids), -1))
    return F.cross_entropy(similar, torch.arange(len(ids))), align
