"""A model whose score depends on a known place of the image, which the mean of its gradient does not show."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad


class Quadrants(nn.Module):
    """The score is the brightness of the quadrant that the text names, less a little of that of the others."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, 4, 4, stride=4)
        self.mix = nn.Conv2d(4, 4, 1)
        with torch.no_grad():
            self.cut.weight.fill_(1 / 48)
            self.cut.bias.zero_()
            self.mix.weight.copy_(torch.eye(4)[:, :, None, None])
            self.mix.bias.zero_()

    def forward(self, pixels, quadrant):
        grid = self.mix(self.cut(pixels))
        height, width = grid.shape[2:]
        weights = torch.full((len(grid), height, width), -0.1)
        for row, number in enumerate(quadrant.tolist()):
            top, left = number // 2 * height // 2, number % 2 * width // 2
            weights[row, top : top + height // 2, left : left + width // 2] = 0.3
        return (grid.mean(1) * weights).sum((1, 2))


@pytest.fixture(scope="session")
def quadrants():
    return Quadrants().eval()


@pytest.fixture(scope="session")
def calls():
    """Nine images of bright squares, each with a quadrant."""
    generator = torch.Generator().manual_seed(3)
    squares = (torch.rand(9, 1, 1, 8, 8, generator=generator) < 0.3).float().expand(9, 1, 3, 8, 8)
    images = squares.repeat_interleave(4, 3).repeat_interleave(4, 4)
    return [(image, torch.tensor([number % 4])) for number, image in enumerate(images)]


@pytest.fixture(scope="session")
def calibration(quadrants, calls):
    from mmgrad_explain import calibrate

    return calibrate(MMGrad(quadrants, score=lambda output: output), calls, progress=False)
