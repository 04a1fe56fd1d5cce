"""A method with a note: the maps of the method, and the note."""

import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.attention.methods.noted import Noted
from mmgrad_explain.notes import Note

NOTE = Note("caution", "mind the gap")


def test_the_maps_are_those_of_the_method_and_say_so(zoo, cnn, x):
    plain = ensure_method("hirescam")
    noted = Noted(plain, NOTE)
    assert (noted.name, noted.differentiable, noted.needs) == (plain.name, plain.differentiable, plain.needs)
    alone, both = (MMGrad(cnn, "late", zoo.class_score(), method)(x) for method in (plain, noted))
    assert torch.equal(alone.maps, both.maps)
    assert (alone.notes, both.notes) == ((), (NOTE,))
