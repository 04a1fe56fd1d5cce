"""Pictures that are unlike those a model was trained on."""

from dataclasses import replace

import pytest
import torch

from mmgrad_explain.composers.familiar_images import PIXELS
from mmgrad_explain.composers.familiarity import (
    FILE,
    Familiarity,
    area_under_curve,
    describe,
    fit_familiarity,
)
from mmgrad_explain.composers.pixel_statistics import pixel_statistics
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note

WORDS = (("layer",), "coloured shapes", "name a model that knows it")
D = 6


def descriptions(count, level, seed):
    """Numbers around a level; they go together in pairs."""
    generator = torch.Generator().manual_seed(seed)
    return level + torch.randn(count, D // 2, generator=generator).repeat_interleave(2, 1)


@pytest.fixture(scope="module")
def known():
    parts = {
        name: (descriptions(1000, level, seed), descriptions(1000, level, seed + 7))
        for seed, (name, level) in enumerate({"low": 0.0, "high": 9.0}.items())
    }
    return fit_familiarity(parts, *WORDS)


def test_description_by_hand():
    grid = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])
    pixels = torch.rand(1, 3, 32, 32)
    assert describe({PIXELS: pixels, "a": grid, "b": grid})[0, -8:].tolist() == [2.0, 2.0, 1.0, 0.0] * 2
    torch.testing.assert_close(describe({PIXELS: pixels, "a": grid})[:, :-4], pixel_statistics(pixels))


def test_the_stated_share_of_each_kind_is_called_strange(known):
    for level in (0.0, 9.0):
        strange = (known.strangeness(descriptions(4000, level, 77)) > 1).float().mean()
        assert 0.001 < float(strange) < 0.02
    assert known.kinds["low"].distance(descriptions(2000, 0.0, 5)).mean() == pytest.approx(0.5, abs=0.1)


def test_what_lies_between_the_kinds_is_strange_and_so_is_an_unusual_relation(known):
    assert (known.strangeness(descriptions(50, 4.5, 5)) > 1).all()
    apart = descriptions(50, 0.0, 5)
    apart[:, ::2] += 0.9  # each number alone is as usual
    apart[:, 1::2] -= 0.9
    assert (known.strangeness(apart) > 1).all()


def test_pictures_that_are_shown_as_unknown_are_told_apart():
    """They lie within what is usual for each number, and within the Gaussian: only knowing some of them tells."""
    generator = torch.Generator().manual_seed(0)
    own, others, unknown = torch.randn(3, 3000, 120, generator=generator)
    unknown = unknown + 0.45
    alone = fit_familiarity({"own": (own, others)}, *WORDS)
    taught = fit_familiarity({"own": (own, others)}, *WORDS, unknown=unknown[:1500])
    fresh = torch.randn(3000, 120, generator=generator)
    assert (alone.strangeness(unknown[1500:]) > 1).float().mean() < 0.5
    assert (taught.strangeness(unknown[1500:]) > 1).float().mean() > 0.95
    assert (taught.strangeness(fresh) > 1).float().mean() < 0.02


def test_what_lies_beside_the_main_directions_counts(monkeypatch):
    monkeypatch.setattr("mmgrad_explain.composers.familiarity.DIRECTIONS", 2)
    own = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    own[:, 2:] = 0.05 * own[:, 2:] + own[:, :1]
    found = fit_familiarity({"own": (own[:1000], own[1000:])}, *WORDS)
    assert found.kinds["own"].whiten.shape == (2, 8)
    beside = own[:20].clone()
    beside[:, 2] += 1
    assert (found.strangeness(beside) > 1).all()
    assert (found.strangeness(own[:20]) < 1).all()


def test_the_note_names_who_and_what_to_do(known):
    usual, odd = torch.zeros(1, D), torch.full((1, D), 4.5)
    assert known.note(usual) is None
    tail = "unlike what the model was trained on (coloured shapes): do not trust the map; name a model that knows it"
    note = Note("unfamiliar-image", f"the image is {tail}")
    assert known.note(odd) == known.note(torch.cat([odd, odd])) == note
    assert known.note(torch.cat([usual, odd])) == replace(note, samples=(1,))
    assert known.note(torch.cat([odd, usual, odd])) == replace(note, samples=(0, 2))


def test_a_model_folder_keeps_it(known, tmp_path):
    assert Familiarity.load(tmp_path) is None
    assert known.save(tmp_path) == known.save(tmp_path) == tmp_path / FILE
    back = Familiarity.load(tmp_path)
    assert (back.layers, back.trained_on, back.alternative, back.rate) == (*WORDS, 0.01)
    assert back.breadth == 1.0
    replace(known, breadth=0.25).save(tmp_path)
    assert Familiarity.load(tmp_path).breadth == 0.25
    some = torch.cat([descriptions(3, 0.0, 9), descriptions(3, 4.5, 9)])
    torch.testing.assert_close(back.strangeness(some), known.strangeness(some), rtol=1e-3, atol=1e-4)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"familiarity\.safetensors is damaged .* remove it, or copy"):
        Familiarity.load(tmp_path)


def test_a_file_without_its_words_is_damaged(tmp_path):
    from safetensors.torch import save_file

    save_file({"low.mean": torch.zeros(2)}, tmp_path / FILE)
    with pytest.raises(InputError, match="is damaged"):
        Familiarity.load(tmp_path)


def test_too_few_pictures():
    with pytest.raises(InputError, match="no kind of image"):
        fit_familiarity({}, *WORDS)
    some = torch.zeros(50, 4)
    with pytest.raises(InputError, match=r"low: 50 and 50 images are too few for a rate of 0\.01: at least 2 and 100"):
        fit_familiarity({"low": (some, some)}, *WORDS)


def test_area_under_the_curve():
    assert area_under_curve([0.0, 1.0], [1.0, 2.0]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
