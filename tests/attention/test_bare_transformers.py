"""Models of transformers handed over as they are, without a composer and without naming anything."""

import pytest
import torch
import transformers

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.attention import AnswerLikelihood
from mmgrad_explain.errors import InputError

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": 40, "max_position_embeddings": 10, "pad_token_id": 0}
TEXT |= {"bos_token_id": 38, "eos_token_id": 39}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
GROUPS = {"depths": [1, 1, 1], "num_hidden_layers": 3, "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]}
LLAMA = {**SIZES, "model_type": "llama", "vocab_size": 40, "num_key_value_heads": 2, "pad_token_id": 0}
QWEN_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 4}
QWEN_VISION |= {"window_size": 16, "out_hidden_size": 32, "fullatt_block_indexes": [1]}
QWEN_TEXT = {**SIZES, "num_key_value_heads": 2, "vocab_size": 60, "bos_token_id": 50, "eos_token_id": 51}
QWEN_TEXT["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
TWO = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16}
CONFIGS = {
    "CLIPModel": TWO,
    "ChineseCLIPModel": TWO,
    "AltCLIPModel": {**TWO, "text_config": {**TEXT, "max_position_embeddings": 12, "project_dim": 32}},
    "SiglipModel": {"text_config": TEXT, "vision_config": VISION},
    "Siglip2Model": {
        "text_config": {**TEXT, "projection_size": 32},
        "vision_config": {**SIZES, "patch_size": 8, "num_patches": 16},
    },
    "AlignModel": {
        "text_config": TEXT,
        "vision_config": {"image_size": 112, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32},
        "projection_dim": 32,
    },
    "GroupViTModel": {**TWO, "vision_config": {**VISION, **GROUPS}, "projection_intermediate_dim": 16},
    "BlipForImageTextRetrieval": {
        **TWO,
        "text_config": {**TEXT, "encoder_hidden_size": 32, "sep_token_id": 39},
        "image_text_hidden_size": 16,
    },
    "FlavaModel": {
        "text_config": TEXT,
        "image_config": VISION,
        "projection_dim": 16,
        "multimodal_config": SIZES,
        "hidden_size": 32,
    },
    "CLIPSegForImageSegmentation": {
        **TWO,
        "extract_layers": [0, 1],
        "reduce_dim": 16,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 24,
    },
    "ViltForImageAndTextRetrieval": {**TEXT, "image_size": 32, "patch_size": 8},
    "LlavaForConditionalGeneration": {
        "vision_config": {**VISION, "model_type": "clip_vision_model", "projection_dim": 16},
        "text_config": LLAMA,
        "image_token_index": 37,
        "vision_feature_layer": -1,
    },
    "Qwen2_5_VLForConditionalGeneration": {
        "vision_config": QWEN_VISION,
        "text_config": QWEN_TEXT,
        "image_token_id": 55,
        "video_token_id": 56,
        "vision_start_token_id": 57,
        "vision_end_token_id": 58,
    },
}


@pytest.fixture(scope="module")
def bare():
    """Class name to a small random model, made when it is first asked for."""
    made = {}

    def get(name):
        if name not in made:
            model_class = getattr(transformers, name)
            with torch.random.fork_rng([]), torch.no_grad():
                torch.manual_seed(0)
                model = model_class(model_class.config_class(**CONFIGS[name])).eval()
                for value in model.parameters():
                    if value.ndim > 1:  # the usual small random weights hardly let the text through
                        value.normal_(0, value[0].numel() ** -0.5)
                if name == "AlignModel":
                    for module in model.modules():
                        if isinstance(module, torch.nn.BatchNorm2d):
                            module.momentum = 1.0
                            module.train()
                    model.get_image_features(torch.rand(4, 3, 112, 112))
                    model.eval()
            made[name] = model
        return made[name]

    return get


def words(batch=2, seed=3):
    ids = torch.randint(1, 37, (batch, 6), generator=torch.Generator().manual_seed(seed))
    ids[:, -1] = 39
    return ids


def patches(x):
    """A picture cut as SigLIP 2's processor cuts it, four patches of padding behind."""
    batch, _, height, width = x.shape
    cut = x.reshape(batch, 3, height // 8, 8, width // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, 192)
    mask = torch.ones(batch, cut.shape[1], dtype=torch.int32)
    return {
        "pixel_values": torch.nn.functional.pad(cut, (0, 0, 0, 4)),
        "pixel_attention_mask": torch.nn.functional.pad(mask, (0, 4)),
        "spatial_shapes": torch.tensor([[height // 8, width // 8]] * batch),
    }


def inputs(name, x, ids):
    if name == "Siglip2Model":
        return {"input_ids": ids, **patches(x)}
    if name == "LlavaForConditionalGeneration":
        ids = torch.cat([ids[:, :2], ids.new_full((len(x), 16), 37), ids[:, 2:]], 1)
    return {"input_ids": ids, "pixel_values": x}


def cosine(output):
    return torch.cosine_similarity(output.image_embeds, output.text_embeds)


def of_patches(prefix):
    return lambda x: x[:, prefix : prefix + 16].unflatten(1, (4, 4)).permute(0, 3, 1, 2)


NORM = "vision_model.encoder.layers.1.layer_norm1"
FOUND = {  # class: layer, how its output lies, the score, its name
    "CLIPModel": (NORM, of_patches(1), cosine, "image-text"),
    "ChineseCLIPModel": (NORM, of_patches(1), cosine, "image-text"),
    "AltCLIPModel": (NORM, of_patches(1), cosine, "image-text"),
    "SiglipModel": ("vision_model.post_layernorm", of_patches(0), cosine, "image-text"),
    "Siglip2Model": ("vision_model.post_layernorm", of_patches(0), cosine, "image-text"),
    "AlignModel": ("vision_model.encoder.blocks.5.expansion", lambda x: x, cosine, "image-text"),
    "GroupViTModel": ("vision_model.embeddings", of_patches(0), cosine, "image-text"),
    "BlipForImageTextRetrieval": ("vision_model", of_patches(1), lambda output: output.itm_score[:, 1], "match"),
    "ViltForImageAndTextRetrieval": (
        "vilt.embeddings.patch_embeddings",
        lambda x: x,
        lambda output: output.logits[:, 0],
        "logits",
    ),
}
ASKED = {  # the score has to be said, the rest is found
    "FlavaModel": (
        "image_to_mm_projection",
        of_patches(1),
        lambda output: output.multimodal_embeddings[:, 0].square()[:, :8].sum(-1),
        "<lambda>",
    ),
    "CLIPSegForImageSegmentation": (
        "clip.vision_model.encoder.layers.0",
        of_patches(1),
        lambda output: output.logits.sigmoid().mean((1, 2)),
        "<lambda>",
    ),
    "LlavaForConditionalGeneration": (
        "model.multi_modal_projector",
        of_patches(0),
        lambda output: output.logits[:, -1].log_softmax(-1)[:, 5],
        "<lambda>",
    ),
}


@pytest.fixture(params=[*FOUND, *ASKED])
def name(request):
    return request.param


def ask(name, model):
    score = ASKED[name][2] if name in ASKED else None
    return MMGrad(model, score=score, method="gradcam")


def picture(zoo, name, batch=2):
    return zoo.pictures(batch, (112, 112) if name == "AlignModel" else (32, 32))


pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random map may be empty


def test_the_map_is_plain_grad_cam(zoo, bare, name, monkeypatch):
    model, given = bare(name), inputs(name, picture(zoo, name), words())
    layer, read, score, score_name = (FOUND | ASKED)[name]
    model(**given)  # at the first call transformers installs hooks of its own
    with zoo.leaves_alone(model):
        explanation = ask(name, model)(**given)
    assert (explanation.layer_names, explanation.score_name) == ((layer,), score_name)
    torch.manual_seed(0)  # ViLT's order
    monkeypatch.setattr(torch, "no_grad", torch.enable_grad)  # CLIPSeg looks at pictures without gradients
    (expected,) = zoo.plain_maps(model, layer, read, score, lambda: model(**given))
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(explanation.maps / scale, expected / scale, atol=1e-4, rtol=1e-3)


def test_two_texts_two_maps_and_one_at_a_time(zoo, bare, name):
    model, x, mmgrad = bare(name), picture(zoo, name), ask(name, bare(name))
    ids = words()
    x = x[:1].expand(2, -1, -1, -1)
    both = mmgrad(**inputs(name, x, ids))
    signed = both.signed[both.layer_names[0]][0]
    assert (signed[0] - signed[1]).abs().max() > 0.01 * signed.abs().max()
    assert model.training is False
    for index in range(2):
        alone = mmgrad(**inputs(name, x[:1], ids[index : index + 1]))
        # ViLT draws another order for another batch, which changes the order of sums alone.
        torch.testing.assert_close(alone.score[0], both.score[index], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(alone.maps[0], both.maps[index], atol=2e-3 * float(signed.abs().max()), rtol=1e-3)


def test_a_marked_cell_is_found_again(zoo, bare, name):
    model = bare(name)
    layer, read, *_ = (FOUND | ASKED)[name]
    call = lambda x: model(**inputs(name, x, words()))  # noqa: E731
    assert zoo.finds_cells(model, layer, read, call, picture(zoo, name), slack=2 if name == "AlignModel" else 0)


@pytest.mark.parametrize(
    ("name", "holds"), [("FlavaModel", "image_embeddings"), ("CLIPSegForImageSegmentation", "logits")]
)
def test_a_score_that_cannot_be_guessed(zoo, bare, name, holds):
    with pytest.raises(InputError, match=rf"with {holds} \(2, .* does not say by itself what to explain; pass score="):
        MMGrad(bare(name))(**inputs(name, picture(zoo, name), words()))


def test_one_picture_and_several_texts(zoo, bare):
    given = inputs("CLIPModel", picture(zoo, "CLIPModel", 1), words(3))
    model = bare("CLIPModel")
    with pytest.raises(InputError, match="there is not one text for each image; repeat the image for each text"):
        MMGrad(model)(**given)
    one = MMGrad(model, score=lambda output: output.logits_per_image[:, 1], method="layercam")(**given)
    assert one.maps.shape == (1, 4, 4)
    given["pixel_values"] = given["pixel_values"].expand(3, -1, -1, -1)
    repeated = MMGrad(model, method="layercam")(**given)
    scale = one.maps.max(), repeated.maps[1].max()
    torch.testing.assert_close(one.maps[0] / scale[0], repeated.maps[1] / scale[1], atol=1e-3, rtol=1e-3)


def test_blip2s_two_columns_are_no_square():
    """With two pictures its matching logits look like a matrix of similarities."""
    from transformers.models.blip_2.modeling_blip_2 import Blip2ImageTextMatchingModelOutput

    from mmgrad_explain.attention.scores.guess import guess_score

    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    score = guess_score(Blip2ImageTextMatchingModelOutput(logits_per_image=logits, logits_per_text=logits.t()))
    assert (score.name, score(Blip2ImageTextMatchingModelOutput(logits_per_image=logits)).tolist()) == ("match", [2, 4])


class TestNaflex:
    @pytest.mark.parametrize("size", [(24, 32), (32, 16)])
    def test_the_grid_follows_the_shape_and_padding_is_left_out(self, zoo, bare, size):
        model, x, grid = bare("Siglip2Model"), zoo.pictures(2, size), (size[0] // 8, size[1] // 8)
        given = inputs("Siglip2Model", x, words())
        explanation = MMGrad(model, method="gradcam")(**given)
        read = zoo.tokens(0, grid)
        (expected,) = zoo.plain_maps(model, "vision_model.post_layernorm", read, cosine, lambda: model(**given))
        torch.testing.assert_close(explanation.maps, expected)
        assert explanation.layouts == {"vision_model.post_layernorm": (f"tokens {grid[0]} x {grid[1]} after 0",)}
        assert explanation.input_size == size
        call = lambda x: model(**inputs("Siglip2Model", x, words()))  # noqa: E731
        assert zoo.finds_cells(model, "vision_model.post_layernorm", read, call, x)

    def test_words_are_no_grid(self, zoo, bare):
        found = candidate_layers(bare("Siglip2Model"), **inputs("Siglip2Model", zoo.pictures(2, (24, 32)), words()))
        assert not [one.name for one in found if one.name.startswith("text_model")]

    def test_pictures_of_several_shapes(self, zoo, bare):
        given = inputs("Siglip2Model", zoo.pictures(2, (24, 32)), words())
        given["spatial_shapes"] = torch.tensor([[3, 4], [4, 3]])
        with pytest.raises(InputError, match="images of several shapes have no grid in common: explain them one at"):
            MMGrad(bare("Siglip2Model"))(**given)
        with pytest.raises(InputError, match=r"layer 'vision_model.post_layernorm': layout: cannot tell how an output"):
            MMGrad(bare("Siglip2Model"), "vision_model.post_layernorm")(**given)


class TestRefused:
    def test_vilts_shuffled_tokens(self, zoo, bare):
        given = inputs("ViltForImageAndTextRetrieval", zoo.pictures(2, (32, 32)), words())
        with pytest.raises(
            InputError, match=r"layer 'vilt.encoder.layer.0': layout: ViltEmbeddings puts the patches in"
        ):
            MMGrad(bare("ViltForImageAndTextRetrieval"), "vilt.encoder.layer.0")(**given)
        found = candidate_layers(bare("ViltForImageAndTextRetrieval"), **given)
        assert [one.name for one in found] == [
            "vilt.embeddings.patch_embeddings.projection",
            "vilt.embeddings.patch_embeddings",
        ]

    def test_packed_patches(self, bare):
        ids = torch.cat([torch.tensor([[57]]), torch.full((1, 24), 55), torch.tensor([[58, 4, 7, 9]])], 1)
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": (ids == 55).int()}
        given |= {"pixel_values": torch.rand(96, 96), "image_grid_thw": torch.tensor([[1, 8, 12]])}
        model = bare("Qwen2_5_VLForConditionalGeneration")
        with pytest.raises(
            InputError, match=r"image_grid_thw: .* packed into one list.*open the model with load_composer"
        ):
            MMGrad(model, score=lambda output: output.logits[:, -1, 5])(**given)


def test_the_likelihood_of_an_answer(zoo, bare):
    """A generative model's answer, by the score that is there for it."""
    model = bare("LlavaForConditionalGeneration")
    given = inputs("LlavaForConditionalGeneration", zoo.pictures(2, (32, 32)), words())
    labels = torch.full_like(given["input_ids"], -100)
    labels[:, -2:] = given["input_ids"][:, -2:]
    explanation = MMGrad(model, score=AnswerLikelihood(labels))(**given)
    logits = model(**given).logits.log_softmax(-1)
    expected = sum(logits[:, at - 1].gather(1, labels[:, at, None])[:, 0] for at in (-2, -1))
    torch.testing.assert_close(explanation.score, expected.detach(), atol=1e-4, rtol=1e-4)
    assert (explanation.layer_names, explanation.maps.shape) == (("model.multi_modal_projector",), (2, 4, 4))


def test_hidden_states_that_transformers_collects(zoo, bare):
    """LLaVA takes its patches from a hook of transformers, which is there from the second call on."""
    model = bare("LlavaForConditionalGeneration")
    layer = next(name for name, _ in model.named_modules() if name.endswith("encoder.layers.1"))
    given = inputs("LlavaForConditionalGeneration", zoo.pictures(2, (32, 32)), words())
    score = ASKED["LlavaForConditionalGeneration"][2]
    made = [MMGrad(model, layer, score)(**given).maps for _ in range(2)]
    torch.testing.assert_close(made[0], made[1])
    assert made[0].amax() > 0
