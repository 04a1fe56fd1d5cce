"""The terms without masks: what each compares, and that they train a composer that has never seen a mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.grounding import selfeq_loss, separation_loss
from mmgrad_explain.training.distributed import mean_over_all
from mmgrad_explain.training.objective.second_looks import find_mirrorable, find_other_texts
from mmgrad_explain.training.objective.supervision import draw_rows

ALL = {"selfeq": 1.0, "mirror": 0.5, "texts": 0.25, "hidden": 2.0, "shown": 3.0}


@pytest.fixture
def unmasked(source, tiny_processor):
    """A batch without a mask, in which some texts have a paraphrase and may be mirrored."""
    batch = source.batch(3, 0)
    texts = [f"{text} please" if i % 2 else "" for i, text in enumerate(batch.texts)]
    return encode_batch(
        replace(
            batch,
            paraphrases=texts,
            mirrorable=np.arange(len(texts)) % 3 > 0,
            supervised=np.zeros(len(texts), bool),
            edits=["edit"] * len(texts),
        ),
        tiny_processor,
    )


def test_they_need_no_mask_and_have_their_weights(composer, unmasked, objective, rng):
    losses = objective(composer, weight=0.0, **ALL)(unmasked, rng(), 0.5)
    assert set(losses.figures) == {"retrieval", "accuracy", "dead", *ALL}
    total = sum(weight * losses.figures[name] for name, weight in ALL.items())
    assert losses.grounding.item() == pytest.approx(0.5 * total.item(), rel=1e-4)
    losses.grounding.backward()
    gradients = [p.grad for p in composer.network.shift.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    assert all(p.grad is None or p.grad.isfinite().all() for p in composer.parameters())
    assert not objective(composer, weight=0.0, **ALL)(unmasked, rng(), 0.0).grounding.requires_grad


def maps_of(composer, objective, batch, pixels, ids, mask):
    """Signed maps of a composer's shifts, by a forward of its own."""
    passes = objective(composer).passes
    return passes.compose(passes.encode(pixels), passes.encode_text(ids, mask), maps=True)[0]


def test_each_compares_what_it_should(composer, unmasked, objective, rng):
    """Maps of paraphrases, of mirrored images mirrored back, of another text of the image; means over what counts."""
    made = objective(composer, weight=0.0, selfeq=1.0, mirror=1.0, texts=1.0)
    found = made(unmasked, rng()).figures
    images = unmasked.references[unmasked.picture]
    maps, again, mirrored = (
        maps_of(composer, objective, unmasked, pixels, ids, mask).detach()
        for pixels, ids, mask in (
            (images, unmasked.input_ids, unmasked.attention_mask),
            (images, unmasked.paraphrase_ids, unmasked.paraphrase_attention),
            (images.flip(-1), unmasked.input_ids, unmasked.attention_mask),
        )
    )
    partner = find_other_texts(unmasked, torch.arange(6))
    expected = {
        "selfeq": (selfeq_loss, again, unmasked.paraphrased),
        "mirror": (selfeq_loss, mirrored.flip(-1), unmasked.mirrorable),
        "texts": (separation_loss, maps[:, partner], partner >= 0),
    }
    for name, (loss, others, valid) in expected.items():
        each = torch.stack([loss(*pair) for pair in zip(maps, others, strict=True)]).mean(0)
        assert valid.any(), name
        torch.testing.assert_close(found[name], each[valid].mean(), rtol=1e-3, atol=1e-4)


def test_masked_images_are_scored_by_the_direction_of_the_whole_image(composer, unmasked, objective, rng):
    """Of a map that shows everything nothing is left, and all of the score is in it."""
    made = objective(composer, weight=0.0, hidden=1.0, shown=1.0)
    from mmgrad_explain.training.objective import second_looks as module

    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(module, "soft_mask", lambda maps, size: torch.ones(len(maps), *size))
        everything = made(unmasked, rng()).figures
        patched.setattr(module, "soft_mask", lambda maps, size: torch.zeros(len(maps), *size))
        nothing = made(unmasked, rng()).figures
    assert everything["shown"].item() == pytest.approx(0, abs=1e-5)
    assert nothing["hidden"].item() == pytest.approx(1, abs=1e-5)
    grey = torch.zeros_like(unmasked.references[unmasked.picture])
    output = composer(grey, unmasked.input_ids, unmasked.attention_mask)
    whole = composer(unmasked.references[unmasked.picture], unmasked.input_ids, unmasked.attention_mask).shift
    share = (output.shift * whole).sum(-1) / whole.square().sum(-1)
    torch.testing.assert_close(everything["hidden"], mean_over_all(share.relu()).detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(nothing["shown"], mean_over_all((1 - share).relu()).detach(), rtol=1e-3, atol=1e-4)


def test_both_ways_forward_are_the_same(composer, unmasked, objective, rng):
    one, other = (objective(composer, weight=0.0, **ALL) for _ in range(2))
    other.passes.in_stages = lambda *, maps: None
    first, second = one(unmasked, rng()), other(unmasked, rng())
    assert second.figures.keys() == first.figures.keys()
    for name, value in first.figures.items():
        torch.testing.assert_close(value, second.figures[name], rtol=1e-3, atol=1e-4, msg=name)


def test_another_text_has_another_target_of_the_same_reference(batch):
    batch = replace(batch, texts=["a", "b", "c", "a", "a", "d"])
    assert batch.picture.tolist() == [0, 0, 0, 1, 1, 1]
    assert find_other_texts(batch, torch.arange(6)).tolist() == [1, 2, 0, 5, 5, 3]
    assert find_other_texts(batch, torch.tensor([0, 3, 4])).tolist() == [-1, -1, -1]
    twins = replace(batch, reference_ids=torch.tensor([7, 7]), target_ids=torch.tensor([1, 1, 2, -1, -1, 1]))
    assert find_other_texts(twins, torch.tensor([0, 1, 5])).tolist() == [-1, -1, -1]
    assert find_other_texts(twins, torch.tensor([1, 3])).tolist() == [1, 0]


def test_texts_that_name_a_side_are_not_mirrored(batch, unmasked):
    batch = replace(batch, texts=["the left star", *["it"] * 5])
    assert find_mirrorable(batch).tolist() == [False, *[True] * 5]
    assert find_mirrorable(unmasked) is unmasked.mirrorable


def test_without_paraphrases_the_term_is_0(composer, batch, objective, rng):
    losses = objective(composer, weight=0.0, selfeq=1.0)(batch, rng())
    assert losses.figures["selfeq"] == 0
    losses.total.backward()


def test_masks_and_terms_without_them_share_the_maps(composer, batch, objective, rng):
    """The supervised maps have the same loss as without the other terms."""
    batch = replace(batch, supervised=torch.arange(6) % 2 == 0)
    alone = objective(composer)(batch, rng())
    both = objective(composer, mirror=1.0, share=1.0)(batch, rng())
    torch.testing.assert_close(alone.figures["dice"], both.figures["dice"], rtol=1e-4, atol=1e-5)
    rows = draw_rows(batch, objective(composer).options.grounding, rng(), without_masks=True)
    assert len(rows.reference) > int(rows.supervised.sum())
