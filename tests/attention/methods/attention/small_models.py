"""Small random models with their maps by plain towers in float64; for the tests beside this file."""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

_SPEC = importlib.util.spec_from_file_location("plain_towers", Path(__file__).with_name("plain_towers.py"))
plain = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(plain)

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": 20, "max_position_embeddings": 8, "eos_token_id": 19, "pad_token_id": 0}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
BOTH = {"text_config": TEXT, "vision_config": VISION}


@dataclass
class Case:
    """A model, a call, and what its maps are to be.

    Attributes:
        model: In float32.
        inputs: By name.
        score: For MMGrad; None for the default.
        exact_score: (B,) by the plain tower.
        legrad: Blocks to the expected map (B, h, w).
        grad_eclip: Blocks to the expected signed map (B, h, w); None where there is no class token to ask.
    """

    model: nn.Module
    inputs: dict[str, Any]
    score: Callable | None
    exact_score: torch.Tensor
    legrad: Callable
    grad_eclip: Callable | None = None


class Step:
    """A training step of a case in float64, and the slope of a loss on its maps along one direction of the images."""

    def __init__(self, case, method):
        from mmgrad_explain import MMGrad

        self.case = case
        self.model = copy.deepcopy(case.model).double()
        self.key = "x" if "x" in case.inputs else "pixel_values"
        self.images = case.inputs[self.key].double()
        self.mmgrad = MMGrad(self.model, score=case.score, method=method)
        self.mmgrad(**{**case.inputs, self.key: self.images})

    def maps(self, images=None, **options):
        with self.mmgrad.capture() as seen:
            output = self.model(**{**self.case.inputs, self.key: self.images if images is None else images})
        score = self.case.score or (lambda output: plain.cosine(output.image_embeds, output.text_embeds))
        return self.mmgrad.attend(score(output), seen, **options)

    def slopes(self):
        """By autograd, and by the difference of two maps."""
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(self.maps().shape, generator=generator).double()
        step = torch.randn(self.images.shape, generator=generator).double()
        images = self.images.clone().requires_grad_()
        gradient = torch.autograd.grad((self.maps(images, create_graph=True) * weights).sum(), images)[0]
        high, low = (self.maps(self.images + sign * 1e-6 * step) for sign in (1, -1))
        return (gradient * step).sum(), ((high - low) * weights).sum().detach() / 2e-6


def lively(model, std=0.3):
    """Larger random weights, so that maps are not all alike."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
    return model.eval()


def images(batch=2, side=32):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(5))


def texts(batch=2):
    ids = torch.randint(1, 19, (batch, 6), generator=torch.Generator().manual_seed(6))
    ids[:, -1] = 19
    return ids


def read_at_class_token(model, inputs, score, tower, steps, head, pooled=None):
    """A case of a model whose head reads one token; ``head(vectors)`` gives (B,) from (B, D)."""
    exact = head(steps[-1].tokens[:, 0])
    of_mean = pooled or (lambda tokens: head(tokens.mean(1)))
    return Case(
        model, inputs, score, exact,
        lambda last: plain.grid(plain.legrad(steps, of_mean, last, tower.prefix)),
        lambda last: plain.grid(plain.grad_eclip(steps, exact, last, tower.prefix)),
    )  # fmt: skip


def clip(attention="sdpa", batch=2):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    model = lively(CLIPModel(CLIPConfig(**BOTH, projection_dim=8)))
    model.set_attn_implementation(attention)
    inputs = {"input_ids": texts(batch), "pixel_values": images(batch)}
    exact = plain.exactly(model)
    tower = plain.of_transformers(exact.vision_model, 1)
    words = exact.text_projection(exact.text_model(inputs["input_ids"]).pooler_output)
    steps = tower.run(inputs["pixel_values"].double())

    def head(vectors):
        return plain.cosine(exact.visual_projection(exact.vision_model.post_layernorm(vectors)), words)

    return read_at_class_token(model, inputs, None, tower, steps, head)


def open_clip(**vision):
    import open_clip as library

    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 16, "head_width": 8, **vision}
    words = {"context_length": 6, "vocab_size": 20, "width": 16, "heads": 2, "layers": 2}
    model = lively(library.model.CLIP(8, library.CLIPVisionCfg(**sizes), library.CLIPTextCfg(**words)))
    inputs = {"image": images(), "text": texts()}
    exact = plain.exactly(model)
    tower = plain.of_open_clip(exact.visual)
    steps = tower.run(inputs["image"].double())
    embedded = exact.encode_text(inputs["text"])

    def head(vectors, *, pooled=False):
        normed = exact.visual.ln_post(vectors)
        return plain.cosine((normed.mean(1) if pooled else normed) @ exact.visual.proj, embedded)

    if not vision.get("attentional_pool"):
        return read_at_class_token(model, inputs, None, tower, steps, head)
    pooler = exact.visual.attn_pool
    asking = pooler.ln_q(pooler.query)[None].expand(2, -1, -1)
    attend = plain.from_torch(pooler.attn)

    queries = (1, 2) if vision.get("pool_type") == "avg" else (0,)

    def rest(attended):
        return head(attend.out(attended)[:, queries], pooled=True)

    def pool(tokens):
        attention, *_, attended = attend(asking, pooler.ln_k(tokens))
        return attention, attended

    return Case(
        model, inputs, None, rest(pool(steps[-1].tokens)[1]),
        lambda last: plain.grid(plain.legrad_of_pooler(steps, pool, rest, last, 1, queries)),
        lambda last: plain.grid(
            plain.grad_eclip_of_pooler(asking, pooler.ln_k(steps[-1].tokens), attend, rest, 1, queries)
        ),
    )  # fmt: skip


def siglip():
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    model = lively(SiglipModel(SiglipConfig(**{**BOTH, "text_config": {**TEXT, "projection_size": 16}})))
    inputs = {"input_ids": texts(), "pixel_values": images()}
    exact = plain.exactly(model)
    tower = plain.of_transformers(exact.vision_model, 0)
    words = exact.text_model(inputs["input_ids"]).pooler_output
    steps = tower.run(inputs["pixel_values"].double())
    pooler = exact.vision_model.head
    attend = plain.from_torch(pooler.attention)
    asking = pooler.probe.expand(2, -1, -1)

    def rest(attended):
        read = attend.out(attended)
        return plain.cosine((read + pooler.mlp(pooler.layernorm(read)))[:, 0], words)

    def pool(tokens):
        attention, *_, attended = attend(asking, exact.vision_model.post_layernorm(tokens))
        return attention, attended

    return Case(
        model, inputs, None, rest(pool(steps[-1].tokens)[1]),
        lambda last: plain.grid(plain.legrad_of_pooler(steps, pool, rest, last)),
        lambda last: plain.grid(plain.grad_eclip_of_pooler(
            asking, exact.vision_model.post_layernorm(steps[-1].tokens), attend, rest)),
    )  # fmt: skip


def blip():
    from transformers import BlipConfig, BlipForImageTextRetrieval

    torch.manual_seed(0)
    words = {**TEXT, "encoder_hidden_size": 16, "sep_token_id": 19}
    sizes = {**BOTH, "text_config": words, "projection_dim": 8, "image_text_hidden_size": 8}
    model = lively(BlipForImageTextRetrieval(BlipConfig(**sizes)))
    inputs = {"input_ids": texts(), "pixel_values": images()}
    exact = plain.exactly(model)
    tower = plain.of_blip(exact.vision_model)
    steps = tower.run(inputs["pixel_values"].double())

    def head(tokens):
        seen = exact.vision_model.post_layernorm(tokens)
        read = exact.text_encoder(input_ids=inputs["input_ids"], encoder_hidden_states=seen)
        return exact.itm_head(read.last_hidden_state[:, 0])[:, 1]

    whole = head(steps[-1].tokens)
    return Case(
        model, inputs, lambda output: output.itm_score[:, 1], whole,
        lambda last: plain.grid(plain.legrad(steps, head, last, 1)),
        lambda last: plain.grid(plain.grad_eclip(steps, whole, last, 1)),
    )  # fmt: skip


def timm_vit(pool="token", class_token=True, registers=2):
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 5}
    model = lively(VisionTransformer(**sizes, global_pool=pool, class_token=class_token, reg_tokens=registers))
    inputs = {"x": images()}
    exact = plain.exactly(model)
    tower = plain.of_timm(exact)
    steps = tower.run(inputs["x"].double())

    def score(logits):
        return logits[:, 1]

    if pool == "token":
        return read_at_class_token(model, inputs, score, tower, steps, lambda x: exact.head(exact.norm(x))[:, 1])
    if pool == "avg":

        def of_patches(tokens):
            return exact.head(exact.fc_norm(exact.norm(tokens)[:, tower.prefix :].mean(1)))[:, 1]

        return Case(
            model, inputs, score, of_patches(steps[-1].tokens),
            lambda last: plain.grid(plain.legrad(steps, of_patches, last, tower.prefix)),
        )  # fmt: skip
    pooler = exact.attn_pool
    keys, values = (
        plain.linear(*pair) for pair in zip(pooler.kv.weight.chunk(2), pooler.kv.bias.chunk(2), strict=True)
    )
    attend = plain.Projections(pooler.q, keys, values, pooler.proj, pooler.num_heads)
    asking, skipped = pooler.latent.expand(2, -1, -1), tower.prefix

    def rest(attended):
        read = attend.out(attended)
        return exact.head(exact.fc_norm((read + pooler.mlp(pooler.norm(read)))[:, 0]))[:, 1]

    def read(tokens):
        return exact.norm(tokens)[:, skipped:]

    def pool_tokens(tokens):
        attention, *_, attended = attend(asking, read(tokens))
        return attention, attended

    return Case(
        model, inputs, score, rest(pool_tokens(steps[-1].tokens)[1]),
        lambda last: plain.grid(plain.legrad_of_pooler(steps, pool_tokens, rest, last)),
        lambda last: plain.grid(plain.grad_eclip_of_pooler(asking, read(steps[-1].tokens), attend, rest)),
    )  # fmt: skip


def llava():
    """Its vision tower is read after the second last of three blocks, without the class token."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    words = LlamaConfig(**SIZES, num_key_value_heads=2, vocab_size=20, pad_token_id=0)
    sizes = {"image_token_index": 4, "image_seq_length": 16, "vision_feature_layer": -2}
    config = LlavaConfig(vision_config=CLIPVisionConfig(**VISION), text_config=words, **sizes)
    model = lively(LlavaForConditionalGeneration(config))
    ids = texts()
    ids[ids == 4] = 5
    ids = torch.cat([ids[:, :1], torch.full((2, 16), 4), ids[:, 1:]], 1)
    inputs = {"input_ids": ids, "pixel_values": images()}
    exact = plain.exactly(model)
    model(**inputs)  # its first forward adds hooks of its own
    tower = plain.of_transformers(exact.model.vision_tower, 1)
    steps = tower.run(inputs["pixel_values"].double())[:-1]
    embedded = exact.get_input_embeddings()(ids)

    def head(tokens):
        patches = exact.model.multi_modal_projector(tokens[:, 1:])
        whole = torch.cat([embedded[:, :1], patches, embedded[:, 17:]], 1)
        states = exact.model.language_model(inputs_embeds=whole).last_hidden_state
        return exact.lm_head(states)[:, -1].log_softmax(-1)[:, 7]

    return Case(
        model, inputs, lambda output: output.logits[:, -1].log_softmax(-1)[:, 7], head(steps[-1].tokens),
        lambda last: plain.grid(plain.legrad(steps, head, last, 1)),
    )  # fmt: skip


def hand_written(vit, x, prefix=1):
    """The shared ``ViT`` of the tests of attention, read at its class token."""
    exact = plain.exactly(vit)

    def attend(one):
        return plain.from_packed(one.qkv.weight, one.qkv.bias, one.proj, one.heads)

    def embed(x):
        tokens = exact.embed(x).flatten(2).transpose(1, 2)
        return torch.cat([exact.prefix.expand(len(x), -1, -1), tokens], 1) + exact.place

    tower = plain.Tower(embed, [(one.norm1, attend(one), one.norm2, one.mlp) for one in exact.blocks], prefix)
    steps = tower.run(x.double())
    head = SimpleNamespace(read=lambda vectors: exact.head(exact.norm(vectors))[:, 1]).read
    return read_at_class_token(vit, {"x": x}, lambda output: output[:, 1], tower, steps, head)


CASES = {
    "CLIP, sdpa": clip,
    "CLIP, eager": lambda: clip("eager"),
    "open_clip": open_clip,
    "open_clip, own attention": lambda: open_clip(block_type="custom"),
    "open_clip, attention pool": lambda: open_clip(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=2),
    "open_clip, mean of an attention pool": lambda: open_clip(
        attentional_pool=True, pool_type="avg", attn_pooler_queries=3, attn_pooler_heads=2
    ),
    "SigLIP": siglip,
    "BLIP": blip,
    "timm, registers": timm_vit,
    "timm, average": lambda: timm_vit("avg"),
    "timm, average, no class token": lambda: timm_vit("avg", class_token=False, registers=0),
    "timm, attention pool": lambda: timm_vit("map", class_token=False, registers=0),
    "LLaVA": llava,
}
