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


class Tiles(nn.Module):
    """One score of all tiles."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 4, stride=4)

    def forward(self, tiles):
        return self.body(tiles).mean()[None]


def of_features():
    model = nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(20, 2))
    MMGrad(model, score=first, method="occlusion")(torch.rand(2, 5, 4))


def of_both_together():
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ViltForImageAndTextRetrieval(ViltConfig(**small, vocab_size=9, image_size=16, patch_size=4)).eval()
    return MMGrad(model, method="dense")(input_ids=torch.tensor([[1, 2, 3]] * 2), pixel_values=PIXELS)


PROVOKED = {
    "method … changes the pixels of images, but …: take a method that reads a layer, such as 'layercam'": of_features,
    "method … changes one image of one sample at a time, but … holds … images for … score(s) …": lambda: MMGrad(
        Tiles(), method="rise"
    )(PIXELS),
    "method … compares every place of the image with the text, but this model mixes both in the attention of …: "
    "…": of_both_together,
    "method … reads the tokens of a vision transformer, and none was found whose tokens lie on the image: …": lambda: (
        MMGrad(
            nn.Sequential(nn.Conv2d(3, 4, 4), nn.Flatten(), nn.Linear(676, 1)),
            score=lambda output: output,
            method="dense",
        )(PIXELS)
    ),
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
