"""What the tests of the grounding losses share."""

import contextlib

import pytest
import torch

from mmgrad_explain.grounding import forms, maps


@pytest.fixture
def held_constant(monkeypatch):
    """Freeze the scales that the losses hold constant at those of given maps.

    A loss with a detached maximum has another numerical derivative than the one it gives; with the scales really
    constant both must agree.
    """

    @contextlib.contextmanager
    def freeze(*frozen):
        peak_of, spread_of = maps.peak_of, maps.spread_of

        def nearest(x):
            return min(frozen, key=lambda one: float((one.relu() - x.detach().relu()).abs().max()))

        spreads = {(one.data_ptr(), centred): spread_of(one, centred=centred) for one in frozen for centred in (0, 1)}
        with monkeypatch.context() as patch:
            patch.setattr(maps, "peak_of", lambda x: peak_of(nearest(x).relu()))
            patch.setattr(forms, "reach_of", lambda x: peak_of(nearest(x).abs()))
            for module in (maps, forms):
                patch.setattr(module, "spread_of", lambda x, *, centred: spreads[nearest(x).data_ptr(), centred])
            yield

    return freeze


@pytest.fixture
def live():
    """Signed maps that are all alive, and masks: ``live(count, h, w)``."""

    def make(count=4, h=5, w=7, dtype=torch.float64):
        signed = torch.randn(count, h, w, dtype=dtype)
        masks = (torch.rand(count, h, w) > 0.7).to(dtype)
        masks[:, 0, 0] = 0.4  # soft, and not empty
        return signed, masks

    return make


@pytest.fixture
def dead():
    """Maps that show nothing: zero, all negative, flat."""
    return torch.stack([torch.zeros(4, 4), -1 - torch.rand(4, 4), torch.full((4, 4), 2.0)])
