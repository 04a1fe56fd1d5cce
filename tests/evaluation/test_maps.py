"""Maps for an evaluation equal those of explain, are on the right side, and leave the model unchanged."""

import pytest
import torch

from mmgrad_explain.attention import MultiModalGradAttention
from mmgrad_explain.composers.outputs import ComposedOutput
from mmgrad_explain.data.batches.scenes import scene_batch
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import (
    DEFAULT,
    IMAGE_ONLY,
    MapKind,
    default_kind,
    draw_maps,
    find_disjoint_pairs,
    image_only,
    unit_embeddings,
)
from mmgrad_explain.evaluation.scenes import model_inputs
from mmgrad_explain.explanation.fusion import resize_maps

KINDS = [
    MapKind("shift", "gradcam"),
    MapKind("shift", "hirescam"),
    MapKind("similarity", "gradcam"),
    MapKind("pair", "layercam"),
    MapKind("shift", "occlusion"),
    MapKind("shift", DEFAULT),
    MapKind(IMAGE_ONLY, "gradcam"),
]
RERUNS = [MapKind("shift", "occlusion"), MapKind("shift", "gradcam")]


@pytest.fixture
def tensors(tiny):
    return model_inputs(scene_batch(3, 0, 2, tiny.processor, edits=3))


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # a random model may have empty maps
def test_maps_are_those_of_explaining(tiny, tensors):
    """One forward and one gradient a score give what a call of its own gives, on either picture."""
    sides = torch.tensor([False, True, False, False, True, False])
    grids, output = draw_maps(tiny, tensors, sides, KINDS)
    assert list(grids) == KINDS
    assert not output.embedding.requires_grad
    for kind in KINDS:
        score = image_only if kind.score == IMAGE_ONLY else kind.score
        method = None if kind.method == DEFAULT else kind.method
        alone = MultiModalGradAttention(tiny, score=score, method=method)(**tensors)
        expected = torch.where(sides[:, None, None], alone.calls[1], alone.calls[0])
        torch.testing.assert_close(grids[kind], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_methods_that_run_the_model_again(tiny, tensors):
    tensors = {name: value[:2] for name, value in tensors.items()}
    sides = torch.tensor([False, True])
    grids, output = draw_maps(tiny, tensors, sides, RERUNS)
    assert list(grids) == RERUNS
    assert not output.embedding.requires_grad
    for kind in RERUNS:
        alone = MultiModalGradAttention(tiny, score=kind.score, method=kind.method)(**tensors)
        expected = torch.stack([alone.calls[0][0], alone.calls[1][1]])
        torch.testing.assert_close(grids[kind], expected, rtol=1e-3, atol=1e-6)
        assert grids[kind].amax() > 0


def test_all_on_one_side(tiny, tensors):
    kind = KINDS[0]
    mixed = {side: draw_maps(tiny, tensors, torch.full((6,), side), [kind])[0][kind] for side in (False, True)}
    swapped = {**tensors, "pixel_values": tensors["target_pixel_values"]}
    torch.testing.assert_close(
        mixed[True], draw_maps(tiny, swapped, torch.zeros(6, dtype=torch.bool), [kind])[0][kind], rtol=1e-3, atol=1e-6
    )
    assert not torch.equal(mixed[True], mixed[False])


def test_the_image_only_map_does_not_hear_the_text(tiny, tensors):
    kind, here = KINDS[-1], torch.zeros(6, dtype=torch.bool)
    plain = draw_maps(tiny, tensors, here, [kind])[0][kind]
    other = {**tensors, **{name: tensors[name].roll(1, 0) for name in ("input_ids", "attention_mask")}}
    torch.testing.assert_close(plain, draw_maps(tiny, other, here, [kind])[0][kind], rtol=1e-2, atol=1e-6)
    shift = KINDS[0]
    assert not torch.allclose(*(draw_maps(tiny, one, here, [shift])[0][shift] for one in (tensors, other)))


def test_the_image_only_score_needs_a_shift():
    with pytest.raises(InputError, match=r"score 'image only' needs an output with \.shift"):
        image_only(ComposedOutput(torch.ones(2, 3), None))
    alone = image_only(ComposedOutput(torch.full((2, 3), 3.0), torch.ones(2, 3)))
    assert alone.tolist() == [12.0, 12.0]


def test_the_model_comes_back_as_it_was(tiny, tensors):
    tiny.train()
    draw_maps(tiny, tensors, torch.zeros(6, dtype=torch.bool), KINDS)
    assert tiny.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in tiny.parameters())


def test_default_kind(tiny):
    assert default_kind(tiny) == MapKind("shift", getattr(tiny, "default_method", "gradcam"))
    tiny.default_method = "layercam"
    assert default_kind(tiny).name == "shift, layercam"


def test_resizing():
    maps = resize_maps(torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]), (8, 8))
    assert maps.shape == (1, 8, 8)
    assert maps[0, 7, 7] == 1
    assert 0 < maps[0, 4, 4] < 1


def test_pairs_are_disjoint_and_of_one_image():
    masks = torch.zeros(6, 4, 4, dtype=torch.bool)
    masks[0, 0], masks[1, 1], masks[2, 1:3], masks[3, 3], masks[4, 0] = True, True, True, True, True  # 5 is empty
    group = torch.tensor([0, 0, 0, 0, 1, 0])
    usable = torch.tensor([True, True, True, False, True, True])
    assert find_disjoint_pairs(masks, group, usable).tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


def test_embeddings_need_all_three(tiny, tensors):
    with torch.no_grad():
        output = tiny(**tensors)
    assert all(torch.allclose(one.norm(dim=-1), torch.ones(6)) for one in unit_embeddings(output))
    with pytest.raises(InputError, match=r"output has \.shift and \.target"):
        unit_embeddings(ComposedOutput(output.embedding, output.shift))
