"""
Which map should you believe?
=============================

Two methods can give two maps of the same answer. This page trains a small model whose usual map is useless, shows why,
compares methods where the right places are known, and then has the best one found where they are not: by hiding parts
of the images and asking the model again.
"""

# %%
# A model that answers left or right
# ----------------------------------
# A convolutional network reads the image. The words choose among its 16 x 16 places by attention, and the answer is the
# side where the attention lies: below zero left, above zero right. Nothing here is made for being explained.

import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmgrad_explain import MMGrad, calibrate
from mmgrad_explain.data.scenes import LABELS, SceneOptions, scenes
from mmgrad_explain.images import blend, contour, panel
from mmgrad_explain.metrics import energy_inside, pointing_game

torch.manual_seed(0)
torch.set_num_threads(1)
COLORS, SHAPES = LABELS["color"], LABELS["shape"]
WORDS = [*COLORS, *SHAPES]
KINDS = [f"{color} {shape}" for color in COLORS for shape in SHAPES]


class Sides(nn.Module):
    """On which side of the image is the thing that two words name?"""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.vision = nn.Sequential(
            nn.Conv2d(3, width, 8, stride=4, padding=2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip
        self.words = nn.EmbeddingBag(len(WORDS), width, mode="sum")
        self.mix = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.side = nn.Parameter(torch.linspace(-8, 8, 16).repeat(16))  # of each place

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 64, 64) and the ids of two words (B, 2) to one number a sample, (B,)."""
        places = self.vision(pixels).flatten(2)  # (B, width, 256)
        attention = (places * self.mix(self.words(ids))[:, :, None]).sum(1).div(4).softmax(1)
        return (attention * self.side).sum(1)


def batch(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str], list[np.ndarray]]:
    """Images, words, exact masks of the things, texts, and the images to look at; of everything in some scenes."""
    made = []
    for scene in scenes(seed, count, size=64, edits=1, labels=True, options=SceneOptions(objects=(2, 3))):
        color, shape = torch.from_numpy(scene.labels[:2].astype(np.int64))
        kinds = torch.where(color > 0, (color - 1) * len(SHAPES) + shape - 1, -1)
        for kind in kinds.unique().tolist():
            mask = (kinds == kind).float()
            middle = float((mask.sum(0) * torch.arange(64)).sum() / mask.sum())
            if kind < 0 or abs(middle - 31.5) < 4:
                continue  # the background, and things on neither side
            pixels = torch.from_numpy(scene.reference).permute(2, 0, 1) / 127.5 - 1
            ids = torch.tensor([WORDS.index(word) for word in KINDS[kind].split()])
            made.append((pixels, ids, mask, KINDS[kind], scene.reference))
    pixels, ids, masks, texts, pictures = zip(*made, strict=True)
    return torch.stack(pixels), torch.stack(ids), torch.stack(masks), list(texts), list(pictures)


def is_right(masks: torch.Tensor) -> torch.Tensor:
    """Whether each thing is on the right."""
    return masks[:, :, 32:].sum((1, 2)) > masks[:, :, :32].sum((1, 2))


start = time.process_time()
pixels, ids, masks, _, _ = batch(1, 1000)
model, draw = Sides(), np.random.default_rng(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=250)
for step in range(250):
    rows = torch.from_numpy(draw.choice(len(ids), 48, replace=False))
    loss = F.binary_cross_entropy_with_logits(model(pixels[rows], ids[rows]), is_right(masks[rows]).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 100 == 0:
        print(f"step {step:3}: {loss.item():.2f}")
model.eval()
pixels, ids, masks, texts, pictures = batch(2, 40)
with torch.no_grad():
    right = ((model(pixels, ids) > 0) == is_right(masks)).float().mean()
print(f"{right:.0%} right on {len(texts)} new questions, {time.process_time() - start:.0f} s")

# %%
# The usual map
# -------------
# What is explained is the answer that the model gives: the size of its output. Grad-CAM gives each channel one weight,
# the mean of its gradient over all places. The thing that is meant is outlined.


def answer(output: torch.Tensor) -> torch.Tensor:
    """What is explained: how strongly the model answers what it answers."""
    return output.abs()


def explain(method: str, layer: str | None = None, rows: slice = slice(None)):
    """Explain some of the questions."""
    with warnings.catch_warnings(action="ignore"):  # maps that are empty are counted below
        return MMGrad(model, layer, score=answer, method=method)(pixels[rows], ids[rows])


def show(row: int, explanations: dict):
    """One question: the image with the thing outlined, and the maps."""
    outlined = contour(pictures[row], masks[row].numpy())
    maps = [blend(outlined, found.heatmap(row), alpha=0.6) for found in explanations.values()]
    return panel([outlined, *maps], [texts[row], *explanations], height=180)


usual = explain("gradcam")
print(usual)
show(0, {"gradcam": usual})

# %%
# One map proves nothing, so count. *Pointing* is the share of maps whose brightest pixel is on the thing, *energy* the
# share of a map's brightness that is on it. A map that is the same everywhere has the energy of the things' area.


def figures(explanation, rows: slice = slice(None)) -> tuple[float, float]:
    """Pointing and energy of the maps, on the pixels."""
    heat = torch.stack([torch.from_numpy(explanation.heatmap(i)) for i in range(len(explanation))])
    return float(pointing_game(heat, masks[rows]).mean()), float(energy_inside(heat, masks[rows]).nanmean())


print("gradcam: pointing {:.2f}, energy {:.2f}".format(*figures(usual)))
print(f"the things cover {masks.mean():.2f} of the images")

# %%
# Why it fails
# ------------
# The model answers well, so it does look at the things. But the answer is a mean of sides, weighted by attention: more
# attention to a place on the right moves the answer to the right, more to one on the left moves it back. So a channel's
# gradient has one sign on the right and the other on the left. Grad-CAM takes its mean over all places, and nothing is
# left of it here: attention sums to one, so that what a place gains the others lose. The map is made of rounding
# errors. Less of the same happens wherever a network does not end in a mean over places.

(layer,) = usual.layer_names
kept = []
handle = model.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[2].retain_grad() or call[2]))
answer(model(pixels, ids)).sum().backward()
handle.remove()
model.zero_grad()
gradient = kept[0].grad
share = gradient.mean((2, 3)).abs().sum() / gradient.abs().mean((2, 3)).sum()
print(f"of the gradient at {layer!r}, {share:.1%} is left in its mean over places")

# %%
# Other methods
# -------------
# ``layercam`` and ``hirescam`` weigh every place by its own gradient. ``occlusion`` uses none: it hides one square
# after the other and asks how much weaker the answer becomes. ``method=`` takes every name in ``METHODS``.

methods = ["gradcam", "layercam", "hirescam", "occlusion"]
found = {method: explain(method) for method in methods}
for method, one in found.items():
    print("{:10} pointing {:.2f}, energy {:.2f}".format(method, *figures(one)))
show(0, found)

# %%
show(5, found)

# %%
# Without masks
# -------------
# You will rarely have exact masks of what a model should look at; and it may rightly look elsewhere. What you always
# have is the model: hide a part of the image, and see whether the answer changes. That costs 64 forwards an image, so
# ``calibrate`` does it for a few of your own questions, and ranks layers and methods by how well their maps agree with
# it. Each call is what the model takes. Without ``methods`` and ``layers`` it takes those that fit the model, layers of
# several depths. Two floors, which know nothing of the model, stand below.

few = [(pixels[i : i + 1], ids[i : i + 1]) for i in range(24)]
calibration = calibrate(
    MMGrad(model, score=answer), few, methods=["gradcam", "layercam", "hirescam"],
    layers=["vision.2", "vision.5", "vision.8", "vision.9"], progress=False,
)  # fmt: skip
print(calibration.table())

# %%
# Every dot is a mean, its line the 95 % interval.

calibration.plot(12)

# %%
# ``calibration.mmgrad`` makes the best map. No mask was used to find it; on the questions that it has not seen, with
# masks:

rest = slice(24, None)
with warnings.catch_warnings(action="ignore"):
    best = calibration.mmgrad(pixels[rest], ids[rest])
print("usual map:      pointing {:.2f}, energy {:.2f}".format(*figures(explain("gradcam", rows=rest), rest)))
print("calibrated map: pointing {:.2f}, energy {:.2f}".format(*figures(best, rest)))

# %%
# The same questions before and after. ``calibration.save("sides.json")`` keeps the choice, and refuses another model.

calibrated = calibration.mmgrad(pixels, ids)
show(5, {"usual": usual, "calibrated": calibrated})

# %%
show(30, {"usual": usual, "calibrated": calibrated})
