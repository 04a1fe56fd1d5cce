"""Maps of every differentiable method and of two-sided scores are trained, and judged by the same names."""

import pytest
import torch

from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.evaluation.maps import MapKind, draw_maps
from mmgrad_explain.training.held_out_figures import inputs_of, trained_kind
from mmgrad_explain.training.objective.supervision import draw_rows


@pytest.fixture
def clip(clip_folder, source):
    torch.manual_seed(0)
    composer = ClipComposer.from_clip(clip_folder, width=16).eval()
    return composer, encode_batch(source.batch(3, 0), composer.processor)


@pytest.mark.parametrize(
    ("score", "method"),
    [("shift", "relevancy"), ("pair", "legrad"), ("pair", "gradcam"), ("similarity", "grad-eclip")],
)
def test_trained_maps_are_those_that_are_judged(score, method, clip, objective, rng):
    """The maps of a step are those that an evaluation draws by the same score and method, on both images."""
    composer, batch = clip
    made = objective(composer, score=score, method=method, target_side={"recolour": 1.0, "reshape": 1.0})
    assert trained_kind(composer, made.options.grounding) == MapKind(score, method)
    rows = draw_rows(batch, made.options.grounding, rng())
    trained = made.passes.run(batch, rows, maps=True).maps
    on_target = torch.arange(len(rows.every)) >= len(rows.reference)
    chosen = {name: one[rows.every] for name, one in inputs_of(batch).items()}
    judged, _ = draw_maps(composer, chosen, on_target, [MapKind(score, method)])
    assert on_target.any()
    torch.testing.assert_close(trained[0].detach().relu(), judged[MapKind(score, method)], rtol=1e-3, atol=1e-5)

    losses = made(batch, rng())
    losses.grounding.backward()
    gradients = [p.grad for p in composer.clip.vision_model.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0
    assert all(g.isfinite().all() for g in gradients)
    assert losses.figures["dice"] > 0


def test_a_method_on_attention_trains_a_model_in_stages_as_a_whole(clip, objective):
    composer, _ = clip
    assert objective(composer).passes.in_stages(maps=True) is composer
    passes = objective(composer, method="relevancy").passes
    assert passes.in_stages(maps=True) is None
    assert passes.in_stages(maps=False) is composer  # retrieval alone needs no map
