"""Architectures as timm and transformers build them: their layouts, outputs and attention, small and random."""

import copy

import pytest
import timm
import torch

from mmgrad_explain.attention import MMGrad, as_tensor, candidate_layers
from mmgrad_explain.errors import GradientError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


VIT = {"embed_dim": 12, "depth": 2, "num_heads": 2}
ROTARY = VIT | {"embed_dim": 24}
HIERA = {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1)}
PYRAMID = {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
TWO_STAGES = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}
SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}


def create(name, **options):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=4, **options).eval()


@torch.no_grad()
def spread(model):
    """Weights large enough for pictures to matter; the usual ones are small, and zero in some heads."""
    generator = torch.Generator().manual_seed(2)
    for value in model.parameters():
        if value.ndim > 1:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
    return model


@pytest.fixture(scope="module")
def clip():
    from transformers import CLIPConfig, CLIPModel

    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**common, "vocab_size": 40, "max_position_embeddings": 8, "eos_token_id": 39, "bos_token_id": 38},
        vision_config={**common, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return CLIPModel(config).eval()


@pytest.fixture(scope="module")
def words():
    ids = torch.randint(1, 38, (2, 6), generator=torch.Generator().manual_seed(3))
    ids[:, -1] = 39
    return ids


class TestTimm:
    @pytest.mark.parametrize(
        ("name", "options", "layer", "size", "grid", "layout"),
        [
            (
                "vit_tiny_patch16_224",
                VIT | {"img_size": (48, 80)},
                "blocks.0",
                (48, 80),
                (3, 5),
                "tokens 3 x 5 after 1",
            ),
            (
                "vit_tiny_patch16_224",
                VIT | {"reg_tokens": 4, "dynamic_img_size": True},
                "blocks.0",
                (64, 32),
                (4, 2),
                "tokens 4 x 2 after 5",
            ),
            (
                "vit_base_patch16_siglip_224",
                VIT | {"img_size": (32, 48), "mlp_ratio": 2},
                "blocks.1",
                (32, 48),
                (2, 3),
                "tokens 2 x 3 after 0",
            ),
            (
                "swin_tiny_patch4_window7_224",
                {
                    "img_size": (56, 112),
                    "embed_dim": 8,
                    "depths": (1, 1, 1, 1),
                    "num_heads": (1, 1, 2, 2),
                    "window_size": 7,
                },
                "layers.2",
                (56, 112),
                (4, 7),
                "nhwc",
            ),
            ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 16)}, "stages.2", (64, 96), (4, 6), "nchw"),
            (
                "convnext_atto",
                {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 16)},
                "stages.2.blocks.0.norm",
                (64, 96),
                (4, 6),
                None,
            ),
            ("resnet10t", {}, "layer3", (64, 96), (4, 6), "nchw"),
        ],
    )
    def test_layouts(self, zoo, name, options, layer, size, grid, layout):
        model = create(name, **options)
        x = zoo.pictures(2, size)
        made = MMGrad(model, layer, zoo.class_score())(x)
        assert made.maps.shape == (2, *grid)
        assert layout is None or made.layouts[layer] == (layout,)
        assert made.signed[layer][0].abs().amax((1, 2)).min() > 0

    @pytest.mark.parametrize(
        ("name", "options", "size", "chosen"),
        [
            ("vit_tiny_patch16_224", VIT | {"img_size": 64}, 64, "blocks.1.norm1"),
            ("vit_tiny_patch16_224", VIT | {"img_size": 64, "global_pool": "avg"}, 64, "blocks"),
            ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 16)}, 128, "stages"),
            ("resnet10t", {"zero_init_last": False}, 128, "layer4"),
            (
                "resnet26",
                {"layers": (1, 1, 1, 2)},
                128,
                "layer4",
            ),  # its fresh blocks do nothing, its strides skip pixels
            ("swin_tiny_patch4_window7_224", SWIN | {"img_size": 128, "window_size": 4}, 128, "norm"),
        ],
    )
    def test_the_layer_that_is_found(self, zoo, name, options, size, chosen):
        model = create(name, **options)
        with zoo.leaves_alone(model):
            found = candidate_layers(model, zoo.pictures(1, (size, size)), score=zoo.class_score())
        assert [c.name for c in found if c.chosen] == [chosen]

    @pytest.mark.parametrize(
        ("name", "options", "size", "chosen", "grid", "layout"),
        [
            ("vit_base_patch14_reg4_dinov2", VIT, (56, 84), "blocks.1.norm1", (4, 6), "tokens 4 x 6 after 5"),
            ("vit_small_patch16_dinov3", ROTARY, (64, 96), "norm", (4, 6), "tokens 4 x 6 after 5"),
            ("eva02_tiny_patch14_224", ROTARY, (56, 56), "blocks.1", (4, 4), "tokens 4 x 4 after 1"),
            ("deit_tiny_distilled_patch16_224", VIT, (64, 64), "blocks.1.norm1", (4, 4), "tokens 4 x 4 after 2"),
            ("cait_xxs24_224", VIT, (64, 64), "blocks", (4, 4), "tokens 4 x 4 after 0"),
            ("naflexvit_base_patch16_gap", VIT, (64, 96), "blocks.1", (4, 6), "tokens 4 x 6 after 4"),
            ("swinv2_tiny_window8_256", TWO_STAGES, (64, 64), "norm", (8, 8), "nhwc"),
            ("samvit_base_patch16_224", VIT | {"window_size": 4}, (128, 128), "neck", (8, 8), "nchw"),
            ("hiera_tiny_224", HIERA, (224, 224), "blocks.3", (7, 7), "tokens 7 x 7 after 0"),
            ("twins_svt_small", PYRAMID, (128, 128), "norm", (4, 4), "tokens 4 x 4 after 0"),
            ("maxvit_pico_rw_256", {}, (128, 128), "norm", (4, 4), "nchw"),
        ],
    )
    def test_nothing_to_configure(self, zoo, name, options, size, chosen, grid, layout):
        """Registers, rotary positions, windows, nested orders, another sequence for the class token."""
        sizes = {"dynamic_img_size": True} if "dino" in name else {}
        sizes |= {} if name.startswith("naflex") else {"img_size": 56 if "dinov2" in name else size[0]}
        model = create(name, **options, **sizes)
        model = model if name.startswith("maxvit") else spread(model)
        x = zoo.pictures(2, size)
        with zoo.leaves_alone(model):
            explanation = MMGrad(model, score=zoo.class_score(), method="gradcam")(x)
        assert explanation.layouts == {chosen: (layout,)}
        read = {"nchw": lambda x: x, "nhwc": lambda x: x.permute(0, 3, 1, 2)}.get(layout)
        read = read or zoo.tokens(int(layout.rpartition(" ")[2]), grid)
        (expected,) = zoo.plain_maps(model, chosen, read, zoo.class_score(), lambda: model(x))
        scale = expected.abs().max()
        torch.testing.assert_close(explanation.maps / scale, expected / scale, atol=1e-4, rtol=1e-3)
        assert zoo.finds_cells(model, chosen, read, model, x, slack=1 if name.startswith("maxvit") else 0)

    def test_tokens_in_a_nested_order(self, zoo):
        """Hiera unrolls its patches: only behind the last pooling they stand row by row."""
        model = spread(create("hiera_tiny_224", **HIERA, img_size=224))
        found = candidate_layers(model, zoo.pictures(1, (224, 224)), score=zoo.class_score())
        assert {one.name.partition(".")[2][:1] for one in found if one.name.startswith("blocks")} == {"3"}

    def test_a_layer_inside_a_window(self, zoo):
        model = create("swin_tiny_patch4_window7_224", **SWIN, img_size=64, window_size=4)
        with pytest.raises(
            InputError, match=r"a batch of 32, 16 for each. If that layer works on parts of images \(windows"
        ):
            MMGrad(model, "layers.0.blocks.0.attn", zoo.class_score())(zoo.pictures(2, (64, 64)))

    def test_the_last_block_of_a_class_token(self, zoo):
        model = create("vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=3, num_heads=2)
        with pytest.raises(
            GradientError, match=r"zero on every patch of layer 'blocks.2'.*the block before it, 'blocks.1'"
        ):
            MMGrad(model, model.blocks[-1], zoo.class_score())(zoo.pictures(1, (32, 32)))

    def test_fused_attention_twice(self, zoo):
        model = create("vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=2, num_heads=2)
        assert model.blocks[0].attn.fused_attn
        mmgrad = MMGrad(model, "blocks.0")
        with mmgrad.capture() as seen:
            output = model(zoo.pictures(2, (32, 32)))
        mmgrad.attend(output[:, 1], seen, create_graph=True).sum().backward()
        assert model.patch_embed.proj.weight.grad.isfinite().all()

    @pytest.mark.parametrize("reentrant", [False, True])
    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
    def test_checkpointing(self, zoo, reentrant, monkeypatch):
        model = create("vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=3, num_heads=2)
        x = zoo.pictures(2, (32, 32))
        expected = MMGrad(model, "blocks.1", zoo.class_score())(x)
        monkeypatch.setattr("timm.models._manipulate.use_reentrant_ckpt", lambda: reentrant)
        model.set_grad_checkpointing()
        mmgrad = MMGrad(model, "blocks.1", zoo.class_score())
        if reentrant:
            with pytest.raises(GradientError, match="use_reentrant=False"):
                mmgrad(x)
        else:
            assert torch.allclose(mmgrad(x).maps, expected.maps, atol=1e-7)


class TestClip:
    LAYER = "vision_model.encoder.layers.0"

    def test_the_score_of_matched_pairs(self, zoo, clip, words):
        x = zoo.pictures(2, (32, 32))
        with zoo.leaves_alone(clip):
            made = MMGrad(clip, self.LAYER)(input_ids=words, pixel_values=x)
        output = clip(input_ids=words, pixel_values=x)
        cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
        assert torch.allclose(made.score, cosine.detach(), atol=1e-6)
        assert made.score_name == "image-text"
        assert made.layouts == {self.LAYER: ("tokens 4 x 4 after 1",)}

    def test_the_layer_that_is_found(self, zoo, clip, words):
        found = candidate_layers(clip, input_ids=words, pixel_values=zoo.pictures(2, (32, 32)))
        assert [c.name for c in found if c.chosen] == ["vision_model.encoder.layers.1.layer_norm1"]
        assert {c.mixes_text for c in found} == {False}
        assert not any(c.name.startswith("text_model") for c in found)

    def test_the_map_equals_plain_autograd(self, zoo, clip, words):
        x = zoo.pictures(2, (32, 32))
        states = clip.vision_model(x, output_hidden_states=True).hidden_states
        grid = states[1].detach().requires_grad_()
        last = clip.vision_model.encoder.layers[1](grid, attention_mask=None)
        last = last[0] if isinstance(last, tuple) else last
        image = clip.visual_projection(clip.vision_model.post_layernorm(last[:, 0]))
        text = clip(input_ids=words, pixel_values=x).text_embeds.detach()
        score = torch.nn.functional.cosine_similarity(image, text)
        gradient = torch.autograd.grad(score.sum(), grid)[0]
        lay = lambda t: t[:, 1:].transpose(1, 2).unflatten(2, (4, 4))  # noqa: E731
        expected = zoo.grad_cam(lay(grid), lay(gradient))
        made = MMGrad(clip, self.LAYER, method="gradcam")(input_ids=words, pixel_values=x).maps
        assert torch.allclose(made, expected, atol=1e-7)

    def test_embeddings_of_either_transformers_version(self, zoo, clip):
        x = zoo.pictures(2, (32, 32))

        class Image(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.clip = clip

            def forward(self, x):
                return self.clip.get_image_features(pixel_values=x)

        made = MMGrad(Image(), f"clip.{self.LAYER}", lambda output: as_tensor(output).square().sum(-1))(x)
        assert made.maps.shape == (2, 4, 4)

    def test_twice_through_fused_attention(self, zoo, clip, words):
        assert clip.config._attn_implementation == "sdpa"
        mmgrad = MMGrad(clip, self.LAYER)
        with mmgrad.capture() as seen:
            output = clip(input_ids=words, pixel_values=zoo.pictures(2, (32, 32)))
        score = (output.image_embeds * output.text_embeds).sum(-1)
        maps = mmgrad.attend(score, seen, create_graph=True)
        slopes = torch.autograd.grad(maps.sum(), clip.vision_model.encoder.layers[0].mlp.fc1.weight)
        assert slopes[0].isfinite().all()

    @pytest.mark.parametrize("layer", [LAYER, "vision_model.encoder.layers.1.layer_norm1"])
    def test_bfloat16(self, zoo, clip, words, layer):
        x = zoo.pictures(2, (32, 32))
        full = MMGrad(clip, layer)(input_ids=words, pixel_values=x).signed[layer][0]
        half = copy.deepcopy(clip).bfloat16()
        made = MMGrad(half, layer)(input_ids=words, pixel_values=x.bfloat16()).signed[layer][0]
        assert made.dtype == torch.float32
        assert torch.corrcoef(torch.stack([made.flatten(), full.flatten()]))[0, 1] > 0.99


def test_hirescam_says_nothing_before_a_normalization(zoo):
    """A score that sees a layer only through a LayerNorm does not change with its scale: sum_k g_k a_k = 0 (Euler).

    So it is with every patch of the block before the last, where the class token is read.
    """
    model = create("vit_tiny_patch16_224", **VIT | {"img_size": 32}).double()
    x = zoo.pictures(2, (32, 32)).double()
    sizes = {}
    for layer in ("blocks.0", "blocks.1.norm1"):
        signed = {w: MMGrad(model, layer, zoo.class_score(), w)(x).signed[layer][0] for w in ("hirescam", "gradcam")}
        sizes[layer] = float(signed["hirescam"].abs().max() / signed["gradcam"].abs().max())
    assert sizes["blocks.0"] < 1e-3
    assert sizes["blocks.1.norm1"] > 1e-1
