"""Messages of the troubleshooting page, provoked: methods."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad

PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Mean(nn.Module):
    """Two blocks of a transformer, read at the mean of 16 patches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, pixels):
        tokens = self.embed(pixels).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


def first(output):
    return output[:, 0]


def another_score():
    mmgrad = MMGrad(model := Mean().eval(), score=first, method="legrad")
    mmgrad(PIXELS)
    with mmgrad.capture() as seen:
        output = model(PIXELS)
    mmgrad.attend(output[:, 1], seen)


PROVOKED = {
    "method … needs the attention of an image's tower, and this model has none: …": lambda: MMGrad(
        nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten()), score=first, method="legrad"
    )(PIXELS),
    "method … needs a class token or learned queries that pool the patches, and the rest of this model reads neither: "
    "…": lambda: MMGrad(Mean(), score=first, method="grad-eclip")(PIXELS),
    "target_layers: method … takes the model's blocks by itself: leave target_layers out": lambda: MMGrad(
        Mean(), "blocks.0", first, "legrad"
    )(PIXELS),
    "score: method … runs the model's head again and computes the score of it, which is not the score that attend() "
    "got: …": another_score,
}


@pytest.mark.parametrize("quoted", PROVOKED)
def test_it_is_said_so(quoted, provoke):
    provoke(quoted, PROVOKED[quoted])
