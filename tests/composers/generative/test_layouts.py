"""Generative models of transformers, small and random: where each layer's cells lie on the original picture."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

from mmgrad_explain import InputError, MMGrad
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.generative.families import FAMILIES, generative_family_of
from mmgrad_explain.composers.generative.frames import any_resolution

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TOKEN = 9
QUESTION, ANSWER, OTHER = [2, 3], [4, 5, 6], [7, 8, 4]
TEXT = {**SIZES, "vocab_size": 16, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2}
TEXT |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "head_dim": 16}
LLAMA = {"model_type": "llama", **TEXT}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
QWEN_TEXT = {**TEXT, "rope_parameters": MROPE, "rope_scaling": MROPE}
GEMMA = {**TEXT, "sliding_window": 512}
CLIP = {"model_type": "clip_vision_model", **SIZES, "image_size": 32, "patch_size": 8}
SIGLIP = {"model_type": "siglip_vision_model", **SIZES, "image_size": 32, "patch_size": 8, "vision_use_head": False}
QWEN_VISION = {"depth": 3, "num_heads": 2, "patch_size": 4, "in_channels": 3}
IDS = {"image_token_id": TOKEN, "video_token_id": 10, "vision_start_token_id": 11, "vision_end_token_id": 12}
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
CONFIGS = {
    "llava": {"vision_config": CLIP, "text_config": LLAMA, "image_token_index": TOKEN},
    "llava_next": {
        "vision_config": CLIP,
        "text_config": LLAMA,
        "image_token_index": TOKEN,
        "image_grid_pinpoints": PINPOINTS,
    },
    "llava_onevision": {
        "vision_config": SIGLIP,
        "text_config": LLAMA,
        "image_token_index": TOKEN,
        "image_grid_pinpoints": PINPOINTS,
    },
    "qwen2_vl": {
        "vision_config": {**QWEN_VISION, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
        "text_config": {"model_type": "qwen2_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "qwen2_5_vl": {
        "vision_config": {
            **QWEN_VISION,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "window_size": 16,
            "fullatt_block_indexes": [2],
        },
        "text_config": {"model_type": "qwen2_5_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "qwen3_vl": {
        "vision_config": {
            **QWEN_VISION,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        "text_config": {"model_type": "qwen3_vl_text", **QWEN_TEXT},
        **IDS,
    },
    "paligemma": {
        "vision_config": {**SIGLIP, "projection_dim": 32},
        "text_config": {"model_type": "gemma", **TEXT},
        "image_token_index": TOKEN,
        "projection_dim": 32,
    },
    "gemma3": {
        "vision_config": {**SIGLIP, "patch_size": 4},
        "text_config": {"model_type": "gemma3_text", **GEMMA},
        "image_token_index": TOKEN,
        "mm_tokens_per_image": 16,
    },
    "idefics3": {
        "vision_config": {**SIZES, "image_size": 32, "patch_size": 4},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "scale_factor": 2,
    },
    "smolvlm": {
        "vision_config": {**SIZES, "image_size": 32, "patch_size": 4},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "scale_factor": 2,
    },
    "internvl": {
        "vision_config": {**SIZES, "image_size": [32, 32], "patch_size": [4, 4]},
        "text_config": LLAMA,
        "image_token_id": TOKEN,
        "downsample_ratio": 0.5,
    },
}
SQUARE = {"height": 32, "width": 32}
CROP = {"size": {"shortest_edge": 32}, "crop_size": SQUARE}
QWEN_PROCESSOR = ("Qwen2VLImageProcessor", {"patch_size": 4, "min_pixels": 64, "max_pixels": 64 * 64})
SPLIT = {"size": {"longest_edge": 90}, "max_image_size": {"longest_edge": 32}}
PROCESSORS = {
    "llava": ("LlavaImageProcessor", {**CROP, "do_pad": True}),
    "llava_next": ("LlavaNextImageProcessor", {**CROP, "image_grid_pinpoints": PINPOINTS}),
    "llava_onevision": ("LlavaOnevisionImageProcessor", {"size": SQUARE, "image_grid_pinpoints": PINPOINTS}),
    "qwen2_vl": QWEN_PROCESSOR,
    "qwen2_5_vl": QWEN_PROCESSOR,
    "qwen3_vl": QWEN_PROCESSOR,
    "paligemma": ("SiglipImageProcessor", {"size": SQUARE}),
    "gemma3": ("Gemma3ImageProcessor", {"size": SQUARE}),
    "idefics3": ("Idefics3ImageProcessor", SPLIT),
    "smolvlm": ("SmolVLMImageProcessor", SPLIT),
    "internvl": ("GotOcr2ImageProcessor", {"size": SQUARE, "crop_to_patches": True, "max_patches": 6}),
}
# Width and height of a picture, and the grid of its map.
PICTURES = {
    "llava": ((90, 60), (4, 4)),
    "llava_next": ((90, 64), (6, 8)),
    "llava_onevision": ((50, 90), (8, 4)),
    "qwen2_vl": ((70, 42), (5, 9)),
    "qwen2_5_vl": ((70, 42), (5, 9)),
    "qwen3_vl": ((70, 42), (5, 9)),
    "paligemma": ((90, 60), (4, 4)),
    "gemma3": ((90, 60), (4, 4)),
    "idefics3": ((90, 60), (8, 12)),
    "smolvlm": ((50, 90), (12, 8)),
    "internvl": ((100, 60), (8, 12)),
}
KINDS = list(FAMILIES)


class Answering(nn.Module):
    """The log-likelihood of the last tokens, and how layers lie on the pictures."""

    def __init__(self, kind, **changes):
        super().__init__()
        family = FAMILIES[kind]
        model_class = getattr(transformers, family.model_class)
        torch.manual_seed(1)
        self.model = model_class(model_class.config_class(**{**CONFIGS[kind], **changes})).double().eval()
        with torch.no_grad():  # Gemma 3 starts with a projection of zeros
            for name, parameter in self.model.named_parameters():
                if parameter.ndim == 2 and not parameter.any():
                    parameter.normal_(std=0.2)
                if re.search(r"vis.*(out_proj|attn\.proj|projection_layer)\.weight", name):
                    parameter.mul_(0.2)  # patches tell each other little, so that what changes stays in its place
        self.family, self.kind = family, kind
        self.target_layer = f"model.{family.layer(self.model.config)}"

    def forward(self, **tensors):
        taken = {name: value for name, value in tensors.items() if name != "tiles"}
        count = len(ANSWER)
        logits = self.model(**taken).logits[:, -count - 1 : -1]
        answers = tensors["input_ids"][:, -count:, None]
        return logits.log_softmax(-1).gather(2, answers)[..., 0].sum(1)

    def layout_for(self, layer, **tensors):
        return self.family.layout(self.model, layer.removeprefix("model."), tensors)


def picture(kind, seed=0):
    width, height = PICTURES[kind][0]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def processor(kind, **changes):
    """The real image processor, in what stands for the whole one."""
    name, options = PROCESSORS[kind]
    image_processor = getattr(transformers, name)(**{**options, **changes})
    patch_size = None if kind == "llava_onevision" else 8
    return SimpleNamespace(image_processor=image_processor, patch_size=patch_size, num_image_tokens=16)


def prepared(kind, image, model, answer=ANSWER):
    """One picture's tensors and placement, and the prompt's with as many image tokens as the model makes of it."""
    family, own = FAMILIES[kind], processor(kind)
    made = own.image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.pictures}
    tensors["pixel_values"] = tensors["pixel_values"].double()
    tensors |= family.tiles_of(own, image, tensors)
    with torch.no_grad():
        made = model.get_image_features(**{name: tensors[name] for name in family.pictures})
    made = getattr(made, "pooler_output", made)  # of transformers 5; 4 gives the features, Qwen3-VL more than those
    made = made[0] if kind == "qwen3_vl" else made
    count = sum(part.shape[:-1].numel() for part in made)
    tensors["input_ids"] = torch.tensor([[1, *[TOKEN] * count, *QUESTION, *answer]])
    types = [0, *[1] * count, *[0] * len(QUESTION)]
    for name, value in family.types.items():
        prompt = [0] * len(types) if kind == "paligemma" else types
        tensors[name] = torch.tensor([prompt + [value] * len(answer)])
    return tensors, family.place(own, image, tensors)


def together(*several):
    return {name: torch.cat([tensors[name] for tensors in several]) for name in several[0]}


def likelihood(answering, tensors):
    return answering(**tensors)


def activation(answering, layer, tensors, score=likelihood):
    seen = []
    module = answering.get_submodule(layer)
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        scored = score(answering, tensors)
    finally:
        handle.remove()
    return (seen[0][0] if isinstance(seen[0], tuple) else seen[0]), scored


@pytest.fixture(scope="module")
def models():
    return {kind: Answering(kind) for kind in KINDS}


def original_box(placement, grid, cell):
    """The middle of a cell, in the original's pixels: top, bottom, left, right; None where the picture is not there."""
    box = []
    for axis in (0, 1):
        size = placement.input[axis] / grid[axis]
        for part in (0.2, 0.8):
            place = ((cell[axis] + part) * size - placement.offset[axis]) / placement.scale[axis]
            box.append(round(place))
        if box[-2] < 0 or box[-1] > placement.original[axis] or box[-1] == box[-2]:
            return None
    return box


OTHERS = {
    "llava": ("vision_tower.encoder.layers.0", "language_model.layers.0.input_layernorm"),
    "llava_next": ("vision_tower.encoder.layers.0", "language_model.layers.0.input_layernorm"),
    "llava_onevision": ("vision_tower.encoder.layers.0", "language_model.layers.0.input_layernorm"),
    "qwen2_vl": ("visual.patch_embed", "visual.blocks.1", "language_model.layers.0.input_layernorm"),
    "qwen2_5_vl": ("visual.patch_embed", "visual.blocks.1", "language_model.layers.0.input_layernorm"),
    "qwen3_vl": ("visual.blocks.1", "visual.deepstack_merger_list.0", "language_model.layers.0.input_layernorm"),
    "paligemma": ("vision_tower.encoder.layers.0", "language_model.layers.0.input_layernorm"),
    "gemma3": ("vision_tower.encoder.layers.0", "language_model.layers.0.input_layernorm"),
    "idefics3": (
        "vision_model.encoder.layers.0",
        "connector.modality_projection",
        "text_model.layers.0.input_layernorm",
    ),
    "smolvlm": ("vision_model.encoder.layers.0", "text_model.layers.0.input_layernorm"),
    "internvl": (
        "vision_tower.encoder.layer.0",
        "multi_modal_projector.linear_1",
        "language_model.layers.0.input_layernorm",
    ),
}
CASES = [(kind, other) for kind in KINDS for other in ("", *OTHERS[kind])]


def spread_cells(placement, grid):
    """Cells all over the frame that show the picture, the outermost ones among them."""
    rows, columns = grid
    shown = [(r, c) for r in range(rows) for c in range(columns) if original_box(placement, grid, (r, c))]
    return [shown[0], shown[len(shown) // 3], shown[2 * len(shown) // 3 + 1], shown[-1]]


@pytest.mark.parametrize(("kind", "other"), CASES)
def test_one_bright_patch(kind, other, models):
    answering = models[kind]
    image = picture(kind)
    tensors, placement = prepared(kind, image, answering.model)
    layer = f"model.model.{other}" if other else answering.target_layer
    if layer not in dict(answering.named_modules()):  # transformers 4
        layer = layer.replace("vision_tower.", "vision_tower.vision_model.")
    with torch.no_grad():
        before, _ = activation(answering, layer, tensors)
    layout = answering.layout_for(layer, **tensors)
    grid = tuple(layout.fold(to_grid(before, layout).abs().sum(1)).shape[1:])
    if not other:
        assert grid == PICTURES[kind][1]
    for cell in spread_cells(placement, grid):
        top, bottom, left, right = original_box(placement, grid, cell)
        pixels = np.array(image)
        pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
        changed, same = prepared(kind, Image.fromarray(pixels), answering.model)
        assert same == placement
        with torch.no_grad():
            after, _ = activation(answering, layer, changed)
        moved = layout.fold(to_grid(after - before, layout).abs().sum(1))[0]
        assert divmod(int(moved.argmax()), grid[1]) == cell


def by_hand(kind, values, used):
    """One picture's values (tokens,), put on its frame with loops; ``used`` says which tokens the model looks at."""
    height, width = PICTURES[kind][1]
    if kind in {"llava", "paligemma", "gemma3"} or kind.startswith("qwen"):
        places = [(row, column) for row in range(height) for column in range(width)]
        if kind == "qwen2_5_vl":
            places.sort(key=lambda place: (place[0] // 2, place[1] // 2))  # windows of 2 x 2
        frame = torch.zeros(height, width, dtype=values.dtype)
        for (row, column), value in zip(places, values, strict=True):
            frame[row, column] = value
        return frame
    first = kind.startswith("llava")  # the whole picture
    tiles = values.reshape(-1, 4, 4)
    whole, tiles = (tiles[0], tiles[1:]) if first else (tiles[-1], tiles[:-1])
    rows, columns = {"llava_next": (2, 2), "llava_onevision": (2, 2), "smolvlm": (3, 2)}.get(kind, (2, 3))
    canvas = torch.cat([torch.cat(list(tiles[row * columns :][:columns]), 1) for row in range(rows)])
    if not first:
        return canvas + torch.kron(whole, torch.ones(height // 4, width // 4)) / (height // 4 * width // 4)
    # In pixels: where the picture starts among the tiles and how long it is there, down and across.
    spans = {"llava_next": ((9, 46), (0, 64)), "llava_onevision": ((0, 64), (14, 36))}[kind]
    kept = used.reshape(-1, 4, 4)[1:]
    kept = torch.cat([torch.cat([kept[0], kept[1]], 1), torch.cat([kept[2], kept[3]], 1)])
    assert kept.sum() == height * width
    top, left = kept.nonzero()[0].tolist()
    frame = canvas[kept].reshape(height, width).clone()
    shares = []
    for (start, length), first_cell, count in ((spans[0], top, height), (spans[1], left, width)):
        share = torch.zeros(count, 4, dtype=values.dtype)
        for part in range(4):
            halves = [half for half in range(128) if part <= (half / 2 + 0.25 - start) * 4 / length < part + 1]
            cells = [half // 16 - first_cell for half in halves]
            cells = [cell for cell in cells if 0 <= cell < count]
            for cell in cells:
                share[cell, part] += 1 / len(cells)
        shares.append(share)
    return frame + shares[0] @ whole @ shares[1].T


def answer_by_hand(answering, tensors):
    logits = answering.model(**{name: value for name, value in tensors.items() if name != "tiles"}).logits[0]
    ids = tensors["input_ids"][0]
    spots = range(len(ids) - len(ANSWER), len(ids))
    return sum(logits[spot - 1, ids[spot]] - logits[spot - 1].logsumexp(0) for spot in spots)


@pytest.mark.parametrize("kind", KINDS)
def test_is_plain_gradcam(kind, models):
    answering = models[kind]
    tensors, _ = prepared(kind, picture(kind), answering.model)
    maps = {}
    for answer in (ANSWER, OTHER):
        tensors["input_ids"][:, -len(answer) :] = torch.tensor(answer)
        found = MMGrad(answering, score=lambda output: output)(**tensors)
        maps[answer[0]] = found.maps

        features, score = activation(answering, answering.target_layer, tensors, answer_by_hand)
        (gradient,) = torch.autograd.grad(score, features)
        features, gradient = (x.detach().reshape(-1, x.shape[-1]) for x in (features, gradient))
        used = gradient.abs().sum(1) > 0
        values = features @ gradient[used].mean(0)
        plain = by_hand(kind, values, used)
        signed = found.signed[answering.target_layer][0][0]
        largest = plain.abs().max()
        torch.testing.assert_close(signed.double() / largest, plain / largest, atol=1e-6, rtol=0)
        # Nothing that a cell says is lost or said twice.
        torch.testing.assert_close(signed.double().sum() / largest, values[used].sum() / largest, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.score[0], score.detach().float())
    assert (maps[ANSWER[0]] - maps[OTHER[0]]).abs().max() > 0.01 * maps[ANSWER[0]].max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_pictures(kind, models):
    answering = models[kind]
    singles = [prepared(kind, picture(kind, seed), answering.model)[0] for seed in (0, 1)]
    mmgrad = MMGrad(answering, score=lambda output: output)
    both = mmgrad(**together(*singles)).maps
    each = torch.cat([mmgrad(**tensors).maps for tensors in singles])
    torch.testing.assert_close(both / each.max(), each / each.max(), atol=1e-6, rtol=0)
    assert (each[0] - each[1]).abs().max() > 0.01 * each.max()


VARIANTS = {
    **{kind: (kind, {}, PICTURES[kind][0]) for kind in KINDS},
    "llava, cropped": ("llava", {"do_pad": False}, (90, 61)),
    "llava, cropped at the sides": ("llava", {"do_pad": False}, (41, 90)),
    "llava, padded at the sides": ("llava", {}, (41, 90)),
    "llava, only cropped": ("llava", {"do_pad": False, "do_resize": False}, (50, 41)),
    "llava, neither": ("llava", {"do_pad": False, "do_center_crop": False, "size": SQUARE}, (90, 60)),
    "llava_next, high": ("llava_next", {}, (50, 90)),
    "llava_next, a row": ("llava_next", {}, (100, 30)),
    "llava_onevision, small": ("llava_onevision", {}, (30, 20)),
    "qwen2_vl, shrunk": ("qwen2_vl", {}, (100, 90)),
    "idefics3, whole only": ("idefics3", {"do_image_splitting": False}, (90, 60)),
    "idefics3, as large as it is": ("idefics3", {"do_resize": False}, (70, 33)),
    "idefics3, high": ("idefics3", {}, (33, 80)),
    "idefics3, one tile": ("idefics3", {"size": {"longest_edge": 30}}, (90, 60)),
    "internvl, high": ("internvl", {}, (60, 100)),
    "internvl, one tile": ("internvl", {}, (40, 40)),
    "internvl, whole only": ("internvl", {"crop_to_patches": False}, (100, 60)),
}


def frame_of(kind, tensors, tiles):
    """The pixels that the map's frame shows, put together of what the processor gives."""
    pixels = tensors["pixel_values"]
    if kind.startswith("qwen"):
        _, rows, columns = tensors["image_grid_thw"][0].tolist()
        blocks = pixels.reshape(rows // 2, columns // 2, 2, 2, 3, 2, 4, 4)[:, :, :, :, :, 0]
        return blocks.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * 4, columns * 4)
    parts = pixels[0] if pixels.ndim == 5 else pixels
    if kind.startswith("llava_"):
        rows, columns = tiles
        parts = parts[1:]
    else:
        rows, columns = tiles or (1, 1)
    return torch.cat([torch.cat(list(parts[row * columns :][:columns]), 2) for row in range(rows)], 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pixels_are_found_again(variant):
    """Each pixel says in its colours where it stands, and still says so in what the model sees."""
    kind, changes, (width, height) = VARIANTS[variant]
    family, own = FAMILIES[kind], processor(kind, do_rescale=False, do_normalize=False, resample=2, **changes)
    across, down = np.meshgrid(np.arange(width) * 2, np.arange(height) * 2)
    image = Image.fromarray(np.stack([across, down, np.full_like(across, 255)], 2).astype(np.uint8))
    made = own.image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.pictures}
    tensors |= family.tiles_of(own, image, tensors)
    placement = family.place(own, image, tensors)
    tiles = tensors["tiles"][0].tolist() if "tiles" in tensors else None
    corner = [0, 0]
    if kind.startswith("llava_"):
        shown = any_resolution((height, width), PINPOINTS, 32, 4)
        tiles, corner = shown.tiles, [8 * drop for drop in shown.dropped]
    frame = frame_of(kind, tensors, tiles)
    frame = frame[:, corner[0] : corner[0] + placement.input[0], corner[1] : corner[1] + placement.input[1]].numpy()
    assert frame.shape[1:] == placement.input
    positions, inner = [], np.ones(placement.input, bool)
    for axis in (0, 1):
        position = (np.arange(placement.input[axis]) + 0.5 - placement.offset[axis]) / placement.scale[axis]
        from_edge = np.minimum(position, placement.original[axis] - position) * placement.scale[axis]
        clear = np.abs(from_edge) > 0.75  # a resize blends the picture's edge with the padding
        there = (frame[2] > 180).any(1 - axis)  # padding is not that blue
        np.testing.assert_array_equal(there[clear], from_edge[clear] > 0)
        positions.append(np.expand_dims(position, 1 - axis))
        inner &= np.expand_dims(from_edge > 2, 1 - axis)
    assert inner.any()
    for axis in (0, 1):
        wrong = np.abs(frame[1 - axis] / 2 + 0.5 - positions[axis])
        assert wrong[inner].max() < 0.6  # of a pixel of the original: colours are rounded at each resize


def test_resized_cells_in_the_language_model():
    answering = Answering("llava_onevision", vision_aspect_ratio="anyres_max_1")
    image, layer = picture("llava_onevision"), "model.model.language_model.layers.0.input_layernorm"
    tensors, placement = prepared("llava_onevision", image, answering.model)
    layout = answering.layout_for(layer, **tensors)
    assert layout.name == "5 x 2 cells and 4 x 4 of the whole"
    with torch.no_grad():
        before, _ = activation(answering, layer, tensors)
        for cell in [(0, 0), (1, 1), (4, 1)]:
            top, bottom, left, right = original_box(placement, (5, 2), cell)
            pixels = np.array(image)
            pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
            changed, _ = prepared("llava_onevision", Image.fromarray(pixels), answering.model)
            after, _ = activation(answering, layer, changed)
            moved = layout.fold(to_grid(after - before, layout).abs().sum(1))[0]
            assert divmod(int(moved.argmax()), 2) == cell


def test_more_texts_than_pictures(models):
    """A picture's features are handed to the language model once for each text."""
    answering = models["idefics3"]
    tensors, _ = prepared("idefics3", picture("idefics3"), answering.model)
    tensors["input_ids"] = tensors["input_ids"].expand(3, -1)
    layout = answering.layout_for(answering.target_layer, **tensors)
    features = torch.randn(7, 16, 32).repeat(3, 1, 1)
    assert tuple(to_grid(features, layout).shape) == (3, 32, 1, 7 * 16)


@pytest.mark.parametrize(
    ("kind", "layer", "changes", "message"),
    [
        (
            "idefics3",
            "vision_model.embeddings.patch_embedding",
            {},
            r"shape \(7, 32, 8, 8\) is not 448 tokens for each",
        ),
        (
            "qwen2_vl",
            "visual.merger.ln_q",
            {},
            r"an output of shape \(180, 32\) is not 45 tokens for each of the 1 pict",
        ),
        ("llava", "language_model.layers.0", {"input_ids": torch.tensor([[1, TOKEN, 2]])}, "have 1 image tokens where"),
        (
            "qwen2_vl",
            "visual.merger",
            {"image_grid_thw": torch.tensor([[1, 10, 18], [1, 10, 16]])},
            r"different image_grid_thw \(\(1, 10, 16\), \(1, 10, 18\)\): explain them one at a time",
        ),
        (
            "llava_next",
            "multi_modal_projector",
            {"image_sizes": torch.tensor([[60, 90], [50, 80]])},
            "pictures of 60 x 90, 50 x 80 pixels lie differently in their tiles: explain them one at a time",
        ),
    ],
)
def test_what_does_not_fit(kind, layer, changes, message, models):
    answering = models[kind]
    tensors, _ = prepared(kind, picture(kind), answering.model)
    tensors |= changes

    def read():
        layout = answering.layout_for(layer, **tensors)
        return to_grid(activation(answering, f"model.model.{layer}", tensors)[0], layout)

    with torch.no_grad(), pytest.raises(InputError, match=message):
        read()


def test_sizes_that_look_alike(models):
    """Pictures of different sizes that the model sees in the same places."""
    answering = models["llava_next"]
    layout = answering.layout_for(
        answering.target_layer, image_sizes=torch.tensor([[64, 90], [128, 180]]), input_ids=torch.zeros(2, 1)
    )
    assert layout.name == "6 x 8 cells and 4 x 4 of the whole"


def test_settings_that_cannot_be_undone():
    image, none = picture("llava"), {}
    with pytest.raises(InputError, match="set do_pan_and_scan to false"):
        FAMILIES["gemma3"].place(processor("gemma3", do_pan_and_scan=True), image, none)
    pixtral = SimpleNamespace(image_processor=transformers.PixtralImageProcessor(), patch_size=16)
    refused = r"uses do_pad and a resize to \{'longest_edge': 1024\}, which cannot be undone"
    with pytest.raises(InputError, match=refused):
        FAMILIES["llava"].place(pixtral, image, none)
    for kind, pixels in (("internvl", torch.zeros(4, 3, 32, 32)), ("idefics3", torch.zeros(1, 4, 3, 32, 32))):
        with pytest.raises(InputError, match="in 4 parts where its size says 2 x 3 tiles and the whole"):
            FAMILIES[kind].tiles_of(processor(kind), image, {"pixel_values": pixels})
    assert FAMILIES["llava"].tiles_of(processor("llava"), image, none) == {}


def test_longest_sides_have_a_limit():
    image = Image.new("RGB", (100, 60))
    wide = processor("idefics3", size={"longest_edge": 6000}, max_image_size={"longest_edge": 2048})
    assert FAMILIES["idefics3"].tiles_of(wide, image, {"pixel_values": torch.zeros(1, 5, 1)})["tiles"].tolist() == [
        [2, 2]
    ]
    high = image.transpose(Image.Transpose.ROTATE_90)
    assert FAMILIES["idefics3"].tiles_of(wide, high, {"pixel_values": torch.zeros(1, 5, 1)})["tiles"].tolist() == [
        [2, 2]
    ]


def test_families_by_model_type():
    assert generative_family_of({"model_type": "qwen2_5_vl"}, "it") is FAMILIES["qwen2_5_vl"]
    with pytest.raises(InputError, match=r"it is a 'clip' model: supported types are 'llava', .*'internvl'$"):
        generative_family_of({"model_type": "clip"}, "it")
