"""Generative models of transformers, small and random: where each layer's cells lie on the original image."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.generative.families.llava_next import find_any_resolution

_SPEC = importlib.util.spec_from_file_location("small_models", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


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
CASES = [(kind, other) for kind in small.KINDS for other in ("", *OTHERS[kind])]


def spread_cells(placement, grid):
    """Cells all over the frame that show the picture, the outermost ones among them."""
    rows, columns = grid
    shown = [(r, c) for r in range(rows) for c in range(columns) if small.original_box(placement, grid, (r, c))]
    return [shown[0], shown[len(shown) // 3], shown[2 * len(shown) // 3 + 1], shown[-1]]


@pytest.mark.parametrize(("kind", "other"), CASES)
def test_one_bright_patch(kind, other, models):
    answering = models[kind]
    image = small.picture(kind)
    tensors, placement = small.prepared(kind, image, answering.model)
    layer = f"model.model.{other}" if other else answering.target_layer
    if layer not in dict(answering.named_modules()):  # transformers 4
        layer = layer.replace("vision_tower.", "vision_tower.vision_model.")
    with torch.no_grad():
        before, _ = small.activation(answering, layer, tensors)
    layout = answering.layout_for(layer, **tensors)
    grid = tuple(layout.fold(to_grid(before, layout).abs().sum(1)).shape[1:])
    if not other:
        assert grid == small.PICTURES[kind][1]
    for cell in spread_cells(placement, grid):
        top, bottom, left, right = small.original_box(placement, grid, cell)
        pixels = np.array(image)
        pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
        changed, same = small.prepared(kind, Image.fromarray(pixels), answering.model)
        assert same == placement
        with torch.no_grad():
            after, _ = small.activation(answering, layer, changed)
        moved = layout.fold(to_grid(after - before, layout).abs().sum(1))[0]
        assert divmod(int(moved.argmax()), grid[1]) == cell


def by_hand(kind, values, used):
    """One picture's values (tokens,), put on its frame with loops; ``used`` says which tokens the model looks at."""
    height, width = small.PICTURES[kind][1]
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
    spots = range(len(ids) - len(small.ANSWER), len(ids))
    return sum(logits[spot - 1, ids[spot]] - logits[spot - 1].logsumexp(0) for spot in spots)


@pytest.mark.parametrize("kind", small.KINDS)
def test_is_plain_gradcam(kind, models):
    answering = models[kind]
    tensors, _ = small.prepared(kind, small.picture(kind), answering.model)
    maps = {}
    for answer in (small.ANSWER, small.OTHER):
        tensors["input_ids"][:, -len(answer) :] = torch.tensor(answer)
        found = MMGrad(answering, score=lambda output: output, method="gradcam")(**tensors)
        maps[answer[0]] = found.maps

        features, score = small.activation(answering, answering.target_layer, tensors, answer_by_hand)
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
    assert (maps[small.ANSWER[0]] - maps[small.OTHER[0]]).abs().max() > 0.01 * maps[small.ANSWER[0]].max()


@pytest.mark.parametrize("kind", small.KINDS)
def test_a_batch_is_its_pictures(kind, models):
    answering = models[kind]
    singles = [small.prepared(kind, small.picture(kind, seed), answering.model)[0] for seed in (0, 1)]
    mmgrad = MMGrad(answering, score=lambda output: output)
    both = mmgrad(**small.together(*singles)).maps
    each = torch.cat([mmgrad(**tensors).maps for tensors in singles])
    torch.testing.assert_close(both / each.max(), each / each.max(), atol=1e-6, rtol=0)
    assert (each[0] - each[1]).abs().max() > 0.01 * each.max()


VARIANTS = {
    **{kind: (kind, {}, small.PICTURES[kind][0]) for kind in small.KINDS},
    "llava, cropped": ("llava", {"do_pad": False}, (90, 61)),
    "llava, cropped at the sides": ("llava", {"do_pad": False}, (41, 90)),
    "llava, padded at the sides": ("llava", {}, (41, 90)),
    "llava, only cropped": ("llava", {"do_pad": False, "do_resize": False}, (50, 41)),
    "llava, neither": ("llava", {"do_pad": False, "do_center_crop": False, "size": small.SQUARE}, (90, 60)),
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
    family, own = (
        small.FAMILIES[kind],
        small.processor(kind, do_rescale=False, do_normalize=False, resample=2, **changes),
    )
    across, down = np.meshgrid(np.arange(width) * 2, np.arange(height) * 2)
    image = Image.fromarray(np.stack([across, down, np.full_like(across, 255)], 2).astype(np.uint8))
    made = own.image_processor(images=[image], return_tensors="pt")
    tensors = {name: made[name] for name in family.image_tensors}
    tensors |= family.tiles_of(own, image, tensors)
    placement = family.place(own, image, tensors)
    tiles = tensors["tiles"][0].tolist() if "tiles" in tensors else None
    corner = [0, 0]
    if kind.startswith("llava_"):
        shown = find_any_resolution((height, width), small.PINPOINTS, 32, 4)
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
