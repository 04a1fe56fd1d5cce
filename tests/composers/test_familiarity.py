"""Pictures that are unlike those a model was trained on."""

from dataclasses import replace

import pytest
import torch

from mmgrad_explain.composers.familiarity import (
    FILE,
    Familiarity,
    area_under_curve,
    describe,
    fit,
    grids_seen,
    unfamiliar,
)
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

WORDS = ("coloured shapes", "name a model that knows it")


def grids(count, level, seed):
    """Grids of 6 channels around a level; channels go together in pairs."""
    noise = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed)).repeat_interleave(2, 1)
    return level + noise


@pytest.fixture(scope="module")
def known():
    parts = {
        name: (describe(grids(400, level, seed)), describe(grids(400, level, seed + 1)))
        for seed, (name, level) in enumerate({"low": 0.0, "high": 9.0}.items())
    }
    return fit(parts, *WORDS)


def test_description_by_hand():
    grid = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])
    assert describe(grid).tolist() == [[2.0, 2.0, 1.0, 0.0]]
    torch.testing.assert_close(describe(grid.flatten(2).transpose(1, 2)), describe(grid))


def test_the_stated_share_of_each_kind_is_called_strange(known):
    for level in (0.0, 9.0):
        strange = (known.strangeness(grids(2000, level, 77)) > 1).float().mean()
        assert 0.002 < float(strange) < 0.03
    # 1 on average for channels of their own; here every second one repeats the one before it.
    assert known.kinds["low"].distance(describe(grids(500, 0.0, 5))).mean() == pytest.approx(0.5, abs=0.08)


def test_what_lies_between_the_kinds_is_strange_and_so_is_an_unusual_relation(known):
    assert (known.strangeness(grids(50, 4.0, 5)) > 1).all()
    apart = grids(50, 0.0, 5)
    apart[:, ::2] *= -1  # each channel alone is as usual
    apart[:, ::2] += 0.8
    apart[:, 1::2] -= 0.8
    assert (known.strangeness(apart) > 1).float().mean() > 0.9


def test_the_note_names_who_and_what_to_do(known):
    usual, odd = grids(1, 0.0, 3), grids(1, 4.0, 3)
    assert known.note(usual) is None
    tail = "unlike what the model was trained on (coloured shapes): do not trust the map; name a model that knows it"
    note = Note("unfamiliar-picture", f"the picture is {tail}")
    assert known.note(odd) == known.note(torch.cat([odd, odd])) == note
    assert known.note(torch.cat([usual, odd])) == replace(note, samples=(1,))
    assert known.note(torch.cat([odd, usual, odd])) == replace(note, samples=(0, 2))


def test_a_model_folder_keeps_it(known, tmp_path):
    assert Familiarity.load(tmp_path) is None
    assert known.save(tmp_path) == known.save(tmp_path) == tmp_path / FILE
    back = Familiarity.load(tmp_path)
    assert (back.trained_on, back.alternative, back.rate) == (*WORDS, 0.01)
    some = torch.cat([grids(3, 0.0, 9), grids(3, 4.0, 9)])
    torch.testing.assert_close(back.strangeness(some), known.strangeness(some))
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"familiarity\.safetensors is damaged .* remove it, or copy"):
        Familiarity.load(tmp_path)


def test_a_file_without_its_words_is_damaged(tmp_path):
    from safetensors.torch import save_file

    save_file({"low.mean": torch.zeros(2)}, tmp_path / FILE)
    with pytest.raises(InputError, match="is damaged"):
        Familiarity.load(tmp_path)


def test_too_few_pictures():
    with pytest.raises(InputError, match="no kind of picture"):
        fit({}, *WORDS)
    some = torch.zeros(50, 4)
    with pytest.raises(
        InputError, match=r"low: 50 and 50 pictures are too few for a rate of 0\.01: at least 2 and 100"
    ):
        fit({"low": (some, some)}, *WORDS)


def test_a_composer_is_watched_without_another_forward(tiny, picture):
    inputs = tiny.preprocess([picture], ["make it red"], [picture]).tensors
    calls = []
    tiny.get_submodule(tiny.target_layer).register_forward_hook(lambda *_: calls.append(1))
    with grids_seen(tiny) as seen:
        tiny(**inputs)
    assert len(seen) == len(calls) == 2
    assert not seen[0].requires_grad
    tiny(**inputs)
    assert len(seen) == 2
    assert unfamiliar(tiny, seen) is None  # nothing is known
    odd = describe(seen[0] + 100)
    tiny.familiarity = fit({"odd": (odd + torch.randn(20, 1), odd + torch.randn(200, 1))}, *WORDS)
    assert str(unfamiliar(tiny, seen)).startswith("the picture is unlike what the model was trained on")
    assert unfamiliar(tiny, []) is None


def test_a_composer_without_a_layer_is_left_alone(tiny, picture):
    tiny.target_layer = None
    with grids_seen(tiny) as seen:
        tiny(**tiny.preprocess([picture], ["make it red"]).tensors)
    assert seen == []


def test_what_is_no_grid_is_not_kept(tiny):
    tiny.target_layer = "network.logit"
    tiny.network.logit = torch.nn.Identity()
    with grids_seen(tiny) as seen:
        tiny.network.logit(torch.zeros(2, 3))
    assert seen == []


def test_area_under_the_curve():
    assert area_under_curve([0.0, 1.0], [1.0, 2.0]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
