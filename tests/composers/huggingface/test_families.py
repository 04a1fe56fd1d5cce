"""Contrastive models of transformers as they are: each family as a small random model, saved as a user has it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmgrad_explain import explain
from mmgrad_explain.attention import MMGrad, candidate_layers, to_grid
from mmgrad_explain.attention.layouts.record_layouts import find_layouts
from mmgrad_explain.composers.huggingface.family import contrastive_families
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import GradientError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty

WORDS = ["<pad>", "<start>", "make", "the", "it", "red", "blue", "a", "square", "<unk>", "<end>"]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8, "pad_token_id": 0}
ENDS = {**TEXT, "bos_token_id": 1, "eos_token_id": 10}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
GROUPS = {"depths": [1, 1, 1], "num_hidden_layers": 3, "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]}
EFFICIENTNET = {"image_size": 112, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32}
MULTIMODAL = {"multimodal_config": SIZES, "hidden_size": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FAMILIES = contrastive_families()
CONFIGS = {
    "clip": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "metaclip_2": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16},
    "siglip": {"text_config": ENDS, "vision_config": VISION},
    "siglip2": {
        "text_config": {**ENDS, "projection_size": 32},
        "vision_config": {**SIZES, "patch_size": 8, "num_patches": 16},
    },
    "align": {"text_config": TEXT, "vision_config": EFFICIENTNET, "projection_dim": 32},
    "chinese_clip": {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16},
    "altclip": {
        "text_config": {**ENDS, "max_position_embeddings": 10, "project_dim": 32},
        "vision_config": VISION,
        "projection_dim": 16,
    },
    "flava": {"text_config": TEXT, "image_config": VISION, "projection_dim": 16, **MULTIMODAL},
    "groupvit": {
        "text_config": ENDS,
        "vision_config": {**VISION, **GROUPS},
        "projection_dim": 16,
        "projection_intermediate_dim": 16,
    },
    "blip": {
        "text_config": {**ENDS, "encoder_hidden_size": 32, "sep_token_id": 10},
        "vision_config": VISION,
        "projection_dim": 16,
        "image_text_hidden_size": 16,
    },
    "blip-2": {
        "qformer_config": {**TEXT, "encoder_hidden_size": 32, "use_qformer_text_input": True, **STILL},
        "vision_config": VISION,
        "text_config": {"model_type": "opt", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9},
        "num_query_tokens": 3,
        "image_text_hidden_size": 16,
    },
    "clipseg": {"text_config": ENDS, "vision_config": VISION, "projection_dim": 16, "extract_layers": [0, 1]},
    "vilt": {**TEXT, "image_size": 32, "patch_size": 8},
    "bridgetower": {
        "text_config": {**TEXT, **STILL, "max_position_embeddings": 10, "num_hidden_layers": 3, "hidden_size": 64},
        "vision_config": {**VISION, "num_hidden_layers": 3, "hidden_size": 64},  # a head of its attention has 64
        "hidden_size": 64,
        "num_hidden_layers": 2,
    },
}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
SQUASH = {"size": {"height": 32, "width": 32}}
EFFICIENTNET_CROP = {
    "size": {"height": 126, "width": 126},
    "crop_size": {"height": 112, "width": 112},
    "do_center_crop": True,
    "rescale_offset": True,
    "rescale_factor": 1 / 127.5,
    "do_normalize": False,
    "include_top": False,
    "resample": 2,
}
PROCESSORS = {
    "clip": ("CLIPImageProcessor", CROP),
    "metaclip_2": ("CLIPImageProcessor", CROP),
    "siglip": ("SiglipImageProcessor", SQUASH),
    "siglip2": ("Siglip2ImageProcessor", {"patch_size": 8, "max_num_patches": 16}),
    "align": ("EfficientNetImageProcessor", EFFICIENTNET_CROP),
    "chinese_clip": ("ChineseCLIPImageProcessor", {**SQUASH, "do_center_crop": False}),
    "altclip": ("CLIPImageProcessor", CROP),
    "flava": ("FlavaImageProcessor", {**SQUASH, "crop_size": {"height": 32, "width": 32}}),
    "groupvit": ("CLIPImageProcessor", CROP),
    "blip": ("BlipImageProcessor", SQUASH),
    "blip-2": ("BlipImageProcessor", SQUASH),
    "clipseg": ("ViTImageProcessor", SQUASH),
    "bridgetower": (
        "BridgeTowerImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_size": {"shortest_edge": 32}, "size_divisor": 8},
    ),
    "vilt": ("ViltImageProcessor", {"size": {"shortest_edge": 32}, "size_divisor": 8}),
}
# How a reader of the model's code finds the patches: the layer, how many tokens stand before them, their grid.
PLACES = {
    "clip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "metaclip_2": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "siglip": (lambda model: model.vision_model.post_layernorm, 0),
    "siglip2": (lambda model: model.vision_model.post_layernorm, 0),
    "align": (lambda model: model.vision_model.encoder.blocks[-1], None),
    "chinese_clip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "altclip": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "flava": (lambda model: model.image_model.encoder.layer[-1].layernorm_before, 1),
    "groupvit": (lambda model: model.vision_model.encoder.stages[0].downsample.norm_x, 0),
    "blip": (lambda model: model.vision_model.post_layernorm, 1),
    "blip-2": (lambda model: model.vision_model.post_layernorm, 1),
    "clipseg": (lambda model: model.vision_model.encoder.layers[-1].layer_norm1, 1),
    "bridgetower": (lambda model: model.bridgetower.cross_modal_image_link_tower[-1], 1),
    "vilt": (lambda model: model.vilt.encoder.layer[-1].layernorm_before, 9),  # in a new random order every time
}
MATCHING = ("blip", "blip-2", "bridgetower", "vilt")
TEXTS = ["make it red", "a blue square make it"]


def word_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 10)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_model(kind, folder):
    torch.manual_seed(0)
    model_class = getattr(transformers, FAMILIES[kind].model_class)
    model = model_class(model_class.config_class(**CONFIGS[kind])).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:  # the usual small random weights hardly let the text through
                value.normal_(0, value[0].numel() ** -0.5)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.train()
        model.get_image_features(torch.rand(4, 3, 112, 112)) if kind == "align" else None
        model.eval()
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    name, options = PROCESSORS[kind]
    getattr(transformers, name)(**options).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Kind to its folder and the model that was saved there, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = folder, save_model(kind, folder)
        return made[kind]

    return get


@pytest.fixture(params=sorted(FAMILIES))
def kind(request):
    return request.param


@pytest.fixture
def loaded(kind, saved):
    return load_composer(saved(kind)[0]), saved(kind)[1]


def own_inputs(kind, composer, pictures, texts):
    """What the model's own forward takes, and the grid of its patches where they are tokens."""
    inputs = dict(composer.preprocess(pictures, texts).tensors)
    if FAMILIES[kind].fixed_length:
        del inputs["attention_mask"]
    if kind == "siglip2":  # with its padding
        inputs.update(transformers.Siglip2ImageProcessor(**PROCESSORS[kind][1])(pictures, return_tensors="pt"))
        return inputs, tuple(inputs["spatial_shapes"][0].tolist())
    if kind == "vilt":
        inputs.update(transformers.ViltImageProcessor(**PROCESSORS[kind][1])(pictures, return_tensors="pt"))
        return inputs, tuple(side // 8 for side in inputs["pixel_values"].shape[2:])
    return inputs, None if kind == "align" else (4, 4)


def own_score(kind, model, inputs):
    """The pair's score from the model's own forward."""
    output = model(**inputs, **({"use_image_text_matching_head": True} if kind == "blip-2" else {}))
    if kind == "blip":
        return output.itm_score[:, 1]
    if kind == "blip-2":
        return output.logits_per_image[:, 1]
    if kind in ("bridgetower", "vilt"):
        return output.logits[:, -1]
    if kind == "flava":
        image = model.image_projection(output.image_embeddings[:, 0])
        text = model.text_projection(output.text_embeddings[:, 0])
        return torch.cosine_similarity(image, text)
    return torch.cosine_similarity(output.image_embeds, output.text_embeds)


def on_grid(values, prefix, grid):
    """Tokens ``(B, N, K)`` to ``(B, K, h, w)``; feature maps as they are."""
    if grid is None:
        return values
    return values[:, prefix : prefix + grid[0] * grid[1]].unflatten(1, grid).permute(0, 3, 1, 2)


def plain_grad_cam(kind, model, inputs, grid):
    """Grad-CAM in a few lines, with nothing of this package."""
    where, prefix = PLACES[kind]
    outputs, drawn = [], []
    handle = where(model).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    if kind == "vilt":
        embeddings = model.vilt.embeddings
        draw = type(embeddings).visual_embed
        embeddings.visual_embed = lambda *args, **options: drawn.append(draw(embeddings, *args, **options)) or drawn[0]
    score = own_score(kind, model, inputs)
    handle.remove()
    (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    activation = outputs[0]
    if kind == "vilt":
        del embeddings.visual_embed
        rows, columns = drawn[0][2][0].unbind(-1)
        order = (rows * grid[1] + columns).argsort(1)
        assert not torch.equal(order, order.sort(1).values)
        prefix = inputs["input_ids"].shape[1] + 1
        activation, gradient = (
            torch.stack([one[prefix:][places] for one, places in zip(values, order, strict=True)])
            for values in (activation, gradient)
        )
        prefix = 0
    activation, gradient = on_grid(activation, prefix, grid), on_grid(gradient, prefix, grid)
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).detach(), score


def test_every_family_is_here():
    assert CONFIGS.keys() == PROCESSORS.keys() == PLACES.keys() == FAMILIES.keys()


def test_the_map_is_plain_grad_cam(kind, loaded, picture):
    composer, model = loaded
    explanation = explain([picture] * 2, TEXTS, model=composer, layer=None)
    expected, score = plain_grad_cam(kind, model, *own_inputs(kind, composer, [picture] * 2, TEXTS))
    assert explanation.score_name == ("match" if kind in MATCHING else "image-text")
    assert explanation.layer_names == (composer.target_layer,)
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    signed, top = explanation.signed[composer.target_layer][0], expected.abs().max()
    torch.testing.assert_close(signed / top, expected / top, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(explanation.maps, signed.relu())
    assert (signed[0] - signed[1]).abs().max() > 0.01 * top  # another text, another map


def test_a_batch_is_a_loop_and_the_model_is_left_alone(loaded, picture, shared):
    shared.batch_is_a_loop(loaded[0], [picture, picture.rotate(180)], TEXTS)


@pytest.mark.parametrize("corner", [(8, 14), (26, 40), (30, 20)])
def test_a_marked_place_is_found_again(loaded, corner):
    """What changes at the layer when a place on the picture changes lies on that place, on the picture's own pixels."""
    composer, _ = loaded
    pixels = np.full((48, 64, 3), 128, np.uint8)
    row, column = corner
    marked = pixels.copy()
    marked[row : row + 10, column : column + 10] = (255, 0, 0)
    pictures = [Image.fromarray(pixels), Image.fromarray(marked)]
    prepared = composer.preprocess(pictures, TEXTS[:1] * 2)
    with MMGrad(composer).capture() as seen:
        composer(**prepared.tensors)
    layer = composer.target_layer
    values = to_grid(seen.calls(layer)[0].activation.detach(), find_layouts(seen, None, composer, {})[layer][0])
    grid = (values[1] - values[0]).square().sum(0)
    found = prepared.placements[1].to_original(grid.numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert max(abs(y - (row + 4.5)), abs(x - (column + 4.5))) < 5 + 48 / min(grid.shape)


@pytest.mark.parametrize(
    "kind", sorted(FAMILIES.keys() - {"align", "groupvit", "siglip", "siglip2", "vilt", "bridgetower"}), indirect=True
)
def test_the_layer_is_the_one_that_is_found(loaded, picture):
    """By looking for the last grid that a gradient reaches; it may have another name for the same tensor.

    In ALIGN that is a picture with a border of zeros, in GroupViT a grid of channels, in SigLIP the whole tower, whose
    patches are handed on inside it; in ViLT and BridgeTower picture and text are one from early on.
    """
    composer, _ = loaded
    inputs = composer.preprocess([picture] * 2, TEXTS).tensors
    expected = MMGrad(composer)(**inputs).maps
    composer.target_layer = None
    (chosen,) = [one for one in candidate_layers(composer, **inputs) if one.chosen]
    torch.testing.assert_close(MMGrad(composer, chosen.name)(**inputs).maps, expected)


@pytest.mark.parametrize("kind", ["clip", *MATCHING], indirect=True)
def test_a_target_gets_a_map_and_leaves_the_others_alone(loaded, picture):
    composer, _ = loaded
    turned = picture.rotate(180)
    alone = explain(picture, TEXTS[0], model=composer)
    both = explain(picture, TEXTS[0], turned, model=composer)
    of_target = explain(turned, TEXTS[0], model=composer)
    for found, expected in zip(both.signed[composer.target_layer], (alone, of_target), strict=True):
        torch.testing.assert_close(found, expected.signed[composer.target_layer][0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(FAMILIES.keys() - {"bridgetower", "vilt"}), indirect=True)
def test_picture_plus_text_is_the_sum(kind, loaded, picture):
    composer, _ = loaded
    target = picture.rotate(180)
    output = composer(**composer.preprocess([picture] * 2, ["", TEXTS[0]], [target] * 2).tensors)
    assert not output.text[0].any()
    torch.testing.assert_close(output.embedding[0], output.image[0])
    torch.testing.assert_close(output.embedding[1], output.image[1] + output.text[1])
    torch.testing.assert_close(output.target_composed, output.target + output.text)
    torch.testing.assert_close(output.text[1].norm(), torch.tensor(1.0))
    with pytest.raises(GradientError, match="the score does not depend on layer"):
        explain(picture, TEXTS[0], model=composer, score="shift")
    # BLIP's towers are read at the class token alone.
    layer = "model.vision_model.encoder.layers.1.layer_norm1" if kind == "blip" else None
    assert len(explain(picture, TEXTS[0], target, composer, score="pair", layer=layer).calls) == 2
    torch.testing.assert_close(
        explain(picture, TEXTS[0], target, composer, score="similarity", layer=layer).score[0],
        torch.cosine_similarity(output.embedding[1], output.target[1], dim=0).detach(),
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("kind", ["blip"], indirect=True)
def test_blips_towers_can_be_asked_apart(loaded, picture):
    composer, model = loaded
    inputs = composer.preprocess([picture], TEXTS[:1]).tensors
    explanation = MMGrad(composer, score="image-text", target_layers="model.vision_model.encoder.layers.0")(**inputs)
    names = ("pixel_values", "input_ids", "attention_mask")
    expected = model(**{name: inputs[name] for name in names}, use_itm_head=False).itm_score[0]
    torch.testing.assert_close(explanation.score, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["clip"], indirect=True)
def test_a_match_logit_needs_a_model_that_has_one(loaded, picture):
    with pytest.raises(InputError, match="this model gives no match logit: use its default score"):
        explain(picture, TEXTS[0], model=loaded[0], score="match")


@pytest.mark.parametrize("kind", ["blip", "blip-2", "clip", "clipseg", "siglip"], indirect=True)
def test_pictures_of_another_size_stretch_the_positions(loaded, picture):
    composer, _ = loaded
    own = composer.processor.image_processor
    own.size, own.do_center_crop = {"height": 32, "width": 48}, False
    explanation = explain(picture, TEXTS[0], model=composer)
    assert explanation.maps.shape == (1, 4, 6)


@pytest.mark.parametrize("kind", ["blip-2", "bridgetower", "clipseg", "vilt"], indirect=True)
def test_weights_in_half_precision(loaded, picture):
    composer, _ = loaded
    (expected,) = explain(picture, TEXTS[0], model=composer).signed[composer.target_layer]
    (signed,) = explain(picture, TEXTS[0], model=composer.bfloat16()).signed[composer.target_layer]
    torch.testing.assert_close(signed / expected.abs().max(), expected / expected.abs().max(), atol=0.1, rtol=0)


@pytest.mark.parametrize("kind", ["siglip"], indirect=True)
def test_siglip_reads_its_padding(loaded, picture):
    """As in its training: filled up to its length, nothing masked."""
    composer, model = loaded
    inputs = composer.preprocess([picture], TEXTS[:1]).tensors
    assert inputs["input_ids"].tolist() == [[1, 2, 4, 5, 10, 0, 0, 0]]
    expected = model.text_model(input_ids=inputs["input_ids"]).pooler_output
    torch.testing.assert_close(composer(**inputs).text, torch.nn.functional.normalize(expected))


@pytest.mark.parametrize("kind", ["chinese_clip"], indirect=True)
def test_a_layer_that_has_another_name_is_looked_for(loaded, picture, saved, monkeypatch):
    family = replace(FAMILIES["chinese_clip"], layer=lambda config: "model.vision_model.trunk")
    monkeypatch.setitem(FAMILIES, "chinese_clip", family)
    composer = load_composer(saved("chinese_clip")[0])
    assert composer.target_layer is None
    assert explain(picture, TEXTS[0], model=composer).layer_names == (loaded[0].target_layer,)


@pytest.mark.parametrize("kind", ["siglip2"], indirect=True)
def test_naflex_pictures_keep_their_shape(loaded, picture):
    """The patches are put together to the picture they were cut from; each shape of pictures is a batch of its own."""
    composer, _ = loaded
    upright = picture.transpose(Image.Transpose.TRANSPOSE)
    for image, grid in ((picture, (3, 5)), (upright, (5, 3))):
        prepared = composer.preprocess([image], TEXTS[:1])
        (placement,) = prepared.placements
        assert placement.input == (8 * grid[0], 8 * grid[1])
        resized = np.asarray(image.resize(placement.input[::-1], Image.Resampling.BILINEAR)) / 127.5 - 1
        assert np.abs(prepared.tensors["pixel_values"][0].permute(1, 2, 0).numpy() - resized).max() < 0.02
        assert explain(image, TEXTS[0], model=composer).maps.shape == (1, *grid)
    message = r"different sizes for this model \(24 x 40, 40 x 24\): explain them one at a time, a target with"
    with pytest.raises(InputError, match=message):
        explain([picture, upright], TEXTS[0], model=composer)
    with pytest.raises(InputError, match=message):
        explain(picture, TEXTS[0], upright, composer)


# ------------------------------------------------------------------------------------------------- read together


@pytest.mark.parametrize("kind", MATCHING, indirect=True)
def test_many_texts_are_what_each_is_alone(loaded, picture):
    """The picture is encoded once; texts of different lengths are padded."""
    composer, _ = loaded
    together = explain(picture, TEXTS, model=composer)
    for index, text in enumerate(TEXTS):
        alone = explain(picture, text, model=composer)
        torch.testing.assert_close(together.score[index], alone.score[0], atol=1e-5, rtol=1e-4)
        one, all_ = (explanation.signed[composer.target_layer][0] for explanation in (alone, together))
        torch.testing.assert_close(all_[index] / one.abs().max(), one[0] / one.abs().max(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["blip-2"], indirect=True)
def test_blip2s_cosine_is_that_of_its_nearest_query(loaded, picture):
    composer, model = loaded
    pictures = [picture, picture.rotate(180)]
    explanation = explain(pictures, TEXTS, model=composer, score="image-text")
    inputs = composer.preprocess(pictures, TEXTS).tensors
    layer, outputs = model.vision_model.post_layernorm, []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    score = model(**inputs, use_image_text_matching_head=False).logits_per_image.diagonal()
    handle.remove()
    (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    expected = (on_grid(gradient, 1, (4, 4)).mean((2, 3), keepdim=True) * on_grid(outputs[0], 1, (4, 4))).sum(1)
    torch.testing.assert_close(explanation.score, score.detach(), atol=1e-5, rtol=1e-4)
    top = expected.abs().max()
    signed = explanation.signed[composer.target_layer][0]
    torch.testing.assert_close(signed / top, expected.detach() / top, atol=1e-4, rtol=1e-3)


def test_clipseg_is_read_from_a_segmentation_models_folder(saved, tmp_path, picture):
    folder, clip = saved("clipseg")
    whole = transformers.CLIPSegForImageSegmentation(clip.config)
    whole.clip.load_state_dict(clip.state_dict())
    whole.save_pretrained(tmp_path)
    for file in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    found, expected = (explain(picture, TEXTS[0], model=load_composer(where)) for where in (tmp_path, folder))
    torch.testing.assert_close(found.signed, expected.signed)


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_vilts_patches_stand_row_by_row(loaded, picture):
    """However often they are drawn, and all of them, though the model itself would take no more than it was told."""
    composer, model = loaded
    composer.model.vilt.embeddings.config.max_image_length = 7
    pixels = composer.preprocess([picture, picture.rotate(180)], TEXTS).tensors["pixel_values"]
    first, second = composer.encode_image(pixels), composer.encode_image(pixels)
    assert torch.equal(first, second)
    patches = model.vilt.embeddings.patch_embeddings(pixels).flatten(2).transpose(1, 2)
    given = model.vilt.embeddings.position_embeddings[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    places = torch.nn.functional.interpolate(given, (4, 6), mode="bilinear", align_corners=True)
    torch.testing.assert_close(first[:, 1:], patches + places.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_vilt_knows_picture_and_text_only_together(loaded, picture):
    composer, model = loaded
    upright = picture.transpose(Image.Transpose.TRANSPOSE)
    assert explain(picture, TEXTS[0], model=composer).maps.shape == (1, 4, 6)
    assert explain(upright, TEXTS[0], model=composer).maps.shape == (1, 6, 4)
    with pytest.raises(InputError, match=r"different sizes for this model \(32 x 48, 48 x 32\): explain them one at"):
        explain(picture, TEXTS[0], upright, composer)
    target = picture.rotate(180)
    output = composer(**composer.preprocess([picture] * 2, ["", TEXTS[0]], [target] * 2).tensors)
    inputs = composer.preprocess([target], [TEXTS[0]]).tensors
    pooled = model.vilt(**inputs, pixel_mask=torch.ones_like(inputs["pixel_values"][:, 0])).pooler_output[0]
    torch.testing.assert_close(output.target_composed[1], pooled, atol=1e-5, rtol=1e-4)
    assert output.match.isfinite().all()
    assert len(explain(picture, TEXTS[0], target, composer, score="pair").calls) == 2
    for score, message in (
        ("image-text", "this model gives none: use its default score"),
        ("shift", "needs an output with .shift or .empty"),
        ("similarity", "needs a target embedding"),
    ):
        with pytest.raises(InputError, match=message):
            explain(picture, TEXTS[0], target, composer, score=score)


@pytest.mark.parametrize(
    ("kind", "layers", "grid"),
    [
        ("vilt", ("encoder.layer.0", "embeddings.patch_embeddings.projection"), (4, 6)),
        (
            "bridgetower",
            ("cross_modal_image_layers.0", "vision_model.visual.transformer.resblocks.1", "vision_model.visual.ln_pre"),
            (4, 4),
        ),
    ],
    indirect=["kind"],
)
def test_other_layers_of_models_that_read_together(kind, loaded, picture, layers, grid):
    """Before ViLT's patches are put in order its convolution lies on a grid; BridgeTower's tower has the batch second.

    A marked place is found in all of them.
    """
    composer, _ = loaded
    names = [f"model.{kind}.{layer}" for layer in layers]
    marked = np.asarray(picture.resize((60, 40))).copy()
    marked[20:30, 30:40] = (255, 0, 0)
    tensors = composer.preprocess([picture, Image.fromarray(marked)], TEXTS[:1] * 2).tensors
    with MMGrad(composer, names).capture() as seen:
        composer(**tensors)
    layouts = find_layouts(seen, None, composer, {})
    for name in names:
        values = to_grid(seen.calls(name)[0].activation.detach(), layouts[name][0])
        assert values.shape[2:] == grid
        place = divmod(int((values[1] - values[0]).square().sum(0).argmax()), grid[1])
        assert place == (2, grid[1] // 2)
