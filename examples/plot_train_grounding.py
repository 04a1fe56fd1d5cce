"""
Can a model be taught where to look?
====================================

The same small model is trained twice, from equal weights and on equal data: once to retrieve, once to retrieve and to
look at the right place. Both runs take seconds. Then the package's own trainer does the same in three lines.
"""

import copy
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from mmgrad_explain import MMGrad, load_composer
from mmgrad_explain.data.batches import scene_batch
from mmgrad_explain.data.scenes import SceneOptions
from mmgrad_explain.grounding import AttentionGroundingLoss
from mmgrad_explain.images import blend, panel
from mmgrad_explain.metrics import pointing_game
from mmgrad_explain.training import load_config, train

torch.set_num_threads(1)

# %%
# A model
# -------
#
# The usual way to composed retrieval: an image encoder and a text encoder stay as they are, and a small *combiner*
# on top learns what a sentence changes in an image's embedding. With CLIP it would look the same. Here the frozen
# encoders are those of the bundled model, so that it runs in seconds; the combiner is new.
#
# **What that means for what you will see:** the bundled model was trained with the grounding loss, so that its patches
# tell objects apart and know where they are. Both runs below begin from there. What they compare is the loss on a new
# combiner, and not a model that never met it. For that, encoders and all, see the table in ``docs/evaluation.md``.
#
# One line matters for the maps: ``features`` is an ``nn.Identity`` that the grid of patches passes before any text is
# mixed in. It gives the place where maps are taken a name.


class Combiner(nn.Module):
    """What a sentence changes: look where it says, and say what that does to the embedding."""

    def __init__(self, width=96, length=192, heads=2):
        super().__init__()
        self.heads = heads
        self.features = nn.Identity()
        self.mix, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        self.query = nn.Linear(width, heads * width)
        self.head = nn.Sequential(
            nn.Linear((heads + 1) * width, 384), nn.GELU(), nn.Linear(384, 384), nn.GELU(), nn.Linear(384, length)
        )

    def forward(self, grid, sentence):
        """Grids (B, 96, 12, 12) and sentences (B, 96) to what changes, (B, 192)."""
        tokens = self.features(grid).flatten(2).transpose(1, 2)
        tokens = F.relu(self.mix(tokens) * (1 + self.gate(sentence))[:, None])
        query = self.query(sentence).view(len(sentence), self.heads, -1)
        attention = (query @ tokens.transpose(1, 2) / 10).softmax(-1)
        seen = (attention @ tokens).flatten(1)
        return self.head(torch.cat([seen, sentence], dim=-1))


# %%
# Data
# ----
#
# Procedural scenes with two to four objects, four edits each. The encoders are frozen, so every image goes through
# them once, before training.

encoders = load_composer("reference")


@torch.no_grad()
def load(series, count):
    """Scenes of a series: the batch, grids (S, 96, 12, 12), embeddings of images and of targets, sentences."""
    batch = scene_batch(series, 0, count, encoders.processor, options=SceneOptions(objects=(2, 4)))
    grids = torch.cat([encoders.encode_image(part) for part in batch.references.split(50)])
    targets = torch.cat([encoders.embed(encoders.encode_image(part)) for part in batch.targets.split(50)])
    _, sentences, _ = encoders.encode_text(batch.input_ids, batch.attention_mask)
    return batch, F.avg_pool2d(grids, 2), encoders.embed(grids), targets, sentences


training, held_out = load(500, 140), load(501, 40)
print(f"{len(training[0].texts)} triplets to train on, {len(held_out[0].texts)} of other scenes to look at")

# %%
# Two losses
# ----------
#
# *Retrieval*: image plus change should be nearest to its own target, among all targets and references of the batch.
# The edits of one image are one another's hard negatives.
#
# *Grounding*: the maps of the change should lie on the edit's mask. ``capture`` records the forward that is there
# anyway, and ``attend(..., create_graph=True)`` makes maps of it that can be differentiated. ``relu=False`` keeps
# their negative part, so that a map that is dead can be brought back. Where an object is added, the reference has
# nothing to point at: ``supervised`` leaves those samples out.


def similarities(data, rows, change):
    """Queries against the targets, then the references, of some triplets: cosines (R, R + S)."""
    batch, _, pictures, targets, _ = data
    own = batch.scene[rows]
    gallery = torch.cat([targets[rows], pictures[own.unique()]])
    return F.normalize(pictures[own] + change, dim=-1) @ F.normalize(gallery, dim=-1).T


def fit(model, weight, steps=200, scenes=10):
    """Train a model; gives its figures on the held-out scenes, (step, retrieval, pointing)."""
    mmgrad, grounding = MMGrad(model, "features", method="gradcam"), AttentionGroundingLoss(weights={"form": weight})
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    batch, grids, _, _, sentences = training
    drawn, history = torch.Generator().manual_seed(1), []
    for step in range(steps):
        if step % 40 == 0:
            history.append((step, *measure(model)))
        chosen = torch.randperm(len(grids), generator=drawn)[:scenes].sort().values
        rows = (chosen[:, None] * 4 + torch.arange(4)).flatten()  # each with its four edits
        with mmgrad.capture() as seen:
            change = model(grids[batch.scene[rows]], sentences[rows])
        loss = F.cross_entropy(30 * similarities(training, rows, change), torch.arange(len(rows)))
        if weight and step >= 0.2 * steps:  # first retrieval, then the maps
            score = (change * change.detach()).sum(-1)
            maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
            there = [batch.edits[row] != "add" for row in rows]
            loss = loss + grounding(maps, batch.reference_masks[rows].float(), supervised=there)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return [*history, (steps, *measure(model))]


# %%
# Watch both on scenes that are not trained on. *Retrieval*: the query's own target comes first, of all targets and
# references. *Pointing*: the brightest place of the map lies in the mask. A falling loss is no evidence for either.


def maps_of(model, data):
    """What the sentences change, and the maps of that."""
    batch, grids, _, _, sentences = data
    mmgrad = MMGrad(model, "features", method="gradcam")
    with mmgrad.capture() as seen:
        change = model(grids[batch.scene], sentences)
    return change.detach(), mmgrad.attend((change * change.detach()).sum(-1), seen).detach()


def measure(model):
    """Retrieval and pointing on the held-out scenes."""
    batch = held_out[0]
    rows = torch.arange(len(batch.texts))
    change, maps = maps_of(model, held_out)
    found = similarities(held_out, rows, change).argmax(1) == rows
    there = torch.tensor([edit != "add" for edit in batch.edits])
    large = F.interpolate(maps[:, None], size=batch.reference_masks.shape[1:], mode="bilinear")[:, 0]
    return float(found.float().mean()), float(pointing_game(large, batch.reference_masks)[there].mean())


# %%
# With and without
# ----------------
#
# Equal initial weights, equal batches in equal order; the one difference is the loss on the maps.

torch.manual_seed(0)
start = Combiner()
without, grounded = copy.deepcopy(start), copy.deepcopy(start)
histories = {"retrieval alone": fit(without, 0.0), "with the grounding loss": fit(grounded, 1.0)}
for name, history in histories.items():
    _, retrieval, pointing = history[-1]
    print(f"{name:24} retrieval {retrieval:.3f}, pointing {pointing:.3f}")

# %%
# The curves. Pointing rises as soon as the loss comes in and stays where it was without it; retrieval is level within
# what 160 triplets can tell. One seed proves neither: the benchmark in ``docs/evaluation.md`` has three, of whole
# models.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for column, (axis, title) in enumerate(zip(axes, ("retrieval", "pointing"), strict=True), start=1):
    for (name, history), colour in zip(histories.items(), ("#d98032", "#2f6db3"), strict=True):
        axis.plot([row[0] for row in history], [row[column] for row in history], "o-", label=name, color=colour)
    axis.axvline(40, color="black", linestyle=":", linewidth=1)
    axis.set(title=f"{title}, held-out scenes", xlabel="step", ylim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
axes[1].text(44, 0.93, "the loss comes in", size=9)
_ = axes[0].legend(frameon=False)

# %%
# The maps before, without and with. These are the first held-out scenes, not chosen ones. Look where each row's
# sentence points. What is trained for seconds still misses some; but it misses *objects*, while the map of retrieval
# alone lies wherever the embedding happens to be moved from.

batch = held_out[0]
picked = [next(row for row in range(4 * scene, 4 * scene + 4) if batch.edits[row] != "add") for scene in range(5)]
pictures = (encoders.processor.std * batch.references + encoders.processor.mean).clamp(0, 1).permute(0, 2, 3, 1)
drawn = {
    name: maps_of(model, held_out)[1] for name, model in (("start", start), ("alone", without), ("with", grounded))
}
lines = []
for row in picked:
    picture = (255 * pictures[batch.scene[row]]).byte().numpy()
    heats = [(maps[row] / maps[row].max().clamp(min=1e-9)).numpy() for maps in drawn.values()]
    tiles = [picture, *(blend(picture, heat, alpha=0.7) for heat in heats)]
    lines.append(panel(tiles, [batch.texts[row], "before", "retrieval alone", "with the loss"], height=150))
sheet = Image.new("RGB", (lines[0].width, sum(line.height for line in lines)), "white")
for number, line in enumerate(lines):
    sheet.paste(line, (0, sum(one.height for one in lines[:number])))
sheet  # noqa: B018  (shown)

# %%
# With the trainer
# ----------------
#
# The trainer does the same with a config: batches, schedules, checkpoints, evaluation, a model folder. ``tiny``
# trains the whole network, encoders and all, in about two minutes; here it is cut to a few steps, to see how it runs.
# On the command line: ``mmgrad-explain train tiny``.

with tempfile.TemporaryDirectory() as folder:
    changes = ["steps=30", "evaluation.every=15", "evaluation.batches=1", "evaluation.maps=3", "tensorboard=false"]
    changes += ["sources.scenes.pictures=4", "log_every=15", "save_every=30"]
    result = train(load_config("tiny", changes), Path(folder) / "run")
    print(f"pointing after {result.step} steps: {result.figures['pointing']:.3f}")
    logged = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    over_time = Image.open(result.folder / "maps.png").convert("RGB")

# %%
# Its run folder holds ``maps.png``: a few held-out samples, a column an evaluation. This is the picture to keep open
# during a long run. So few steps from random weights teach at most *that* there are objects, not yet which is meant:
# the rows of one scene still look alike.

over_time  # noqa: B018  (shown)

# %%
# What goes wrong most often: the loss comes in before the model knows what a text means (give retrieval a quarter of
# the steps); masks that were not cropped, mirrored and padded with their images; maps of one score trained and
# those of another looked at; dead maps that nobody counts. ``docs/grounding.md`` has the forms of the loss and these
# pitfalls, ``docs/training.md`` the configs. And a model that was taught where to look looks there: that its maps are
# faithful has to be shown separately, as in :doc:`/auto_examples/plot_measure_localization`.
