"""The images among the arguments of a model."""

import torch
from torch import nn

from mmgrad_explain.attention.running.input_images import find_input_images


class TestPictures:
    def test_a_mask_before_the_picture_is_not_the_first(self):
        class Masked(nn.Module):
            def forward(self, mask, *views, **more):
                """Nothing is run."""

        x, mask = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
        found = find_input_images(Masked(), ((mask, x, x), {"other": torch.rand(1, 3, 4, 4)}))
        assert [(one.name, one.index) for one in found] == [("views[0]", 1), ("views[1]", 2), ("other", 3), ("mask", 0)]
        assert found[2].size == (4, 4)

    def test_those_of_one_mapping_are_named_by_their_keys(self):
        class Batched(nn.Module):
            def forward(self, batch):
                """Nothing is run."""

        x = torch.rand(1, 3, 8, 8)
        found = find_input_images(Batched(), (({"target": x, "ids": torch.zeros(1, 2), "more": {"reference": x}},), {}))
        assert [(one.name, one.index) for one in found] == [("batch[target]", 0), ("batch[more][reference]", 1)]

    def test_what_does_not_fit_the_signature_is_counted(self):
        class Odd(nn.Module):
            def forward(self, x):
                """Nothing is run."""

        found = find_input_images(Odd(), ((torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)), {}))
        assert [one.name for one in found] == ["argument 1", "argument 2"]
