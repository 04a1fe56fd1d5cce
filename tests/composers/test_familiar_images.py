"""Whether images are familiar to a model: layers are described during its own forward."""

import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.familiar_images import (
    PIXELS,
    describe_images,
    note_unfamiliar,
    record_layers,
    strangeness_of,
    watch_familiarity,
)
from mmgrad_explain.composers.familiarity import fit_familiarity


def learn(composer, picture):
    """Make a picture all that a model was trained on."""
    near = describe_images(composer, [picture], composer.described_layers)
    near = near + 1e-2 * torch.randn(200, near.shape[1], generator=torch.Generator().manual_seed(0))
    composer.familiarity = fit_familiarity(
        {"one": (near[:100], near[100:])}, composer.described_layers, "coloured shapes", "name a model that knows it"
    )


def test_a_composer_is_watched_without_another_forward(tiny, picture):
    inputs = tiny.preprocess([picture], ["make it red"], [picture]).tensors
    with watch_familiarity(tiny) as seen:
        tiny(**inputs)
    assert seen == {}  # nothing is known
    assert note_unfamiliar(tiny, seen) is None
    learn(tiny, picture)
    calls = []
    handle = tiny.network.visual.register_forward_hook(lambda *_: calls.append(1))
    black = tiny.preprocess([Image.new("RGB", (60, 40))], ["make it red"], [picture]).tensors
    for tensors, says in ((inputs, False), (black, True)):
        with watch_familiarity(tiny) as seen:
            tiny(**tensors)
        assert list(seen) == [PIXELS, *tiny.described_layers]
        assert not any(one.requires_grad for one in seen.values())
        assert bool(note_unfamiliar(tiny, seen)) is says  # of the reference, not of the target
    assert len(calls) == 4
    handle.remove()
    assert not tiny.network.visual.conv1._forward_hooks
    assert not tiny.network.visual.conv1._forward_pre_hooks


def test_strangeness_of_pictures(tiny, picture):
    assert strangeness_of(tiny, [picture]).tolist() == [float("inf")]  # its folder does not say
    learn(tiny, picture)
    same, black = strangeness_of(tiny, [picture, Image.new("RGB", (60, 40))]).tolist()
    assert same < 1 < black
    assert strangeness_of(tiny, []).shape == (0,)


def test_hooks_go_where_a_forward_fails(tiny):
    with pytest.raises(ZeroDivisionError), record_layers(tiny, tiny.described_layers):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in tiny.modules())
