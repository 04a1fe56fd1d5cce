"""
Where does your own model look?
===============================

Any PyTorch model that takes an image and a text can be explained: no base class, no adapter, no change to its code.
This page writes a small one from scratch, trains it for some seconds, asks it where it looks, and checks the answer.
"""

# %%
# A model that has never heard of this package
# --------------------------------------------
# A convolutional network reads the image, a GRU reads the words, and the two meet at every place of a 16 x 16 grid:
# how much does this place look like what the words say? The answer is a **dictionary**, the image's features are
# handed on as **tokens**, and nothing here is made for being explained. Your model will look different, and that is
# the point.

import copy
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmgrad_explain import AttentionGroundingLoss, Layout, MMGrad, candidate_layers
from mmgrad_explain.data.scenes import LABELS, scenes
from mmgrad_explain.images import blend, panel

torch.manual_seed(0)
torch.set_num_threads(1)
COLORS, SHAPES = LABELS["color"], LABELS["shape"]
WORDS = ["<pad>", "the", *COLORS, *SHAPES]


class Finder(nn.Module):
    """Is the thing that a text speaks of in the image?"""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.vision = nn.Sequential(
            nn.Conv2d(3, width, 8, stride=4, padding=2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.tokens = nn.Linear(width, width)
        self.embed = nn.Embedding(len(WORDS), width)
        self.read = nn.GRU(width, width, batch_first=True)
        self.bias = nn.Parameter(torch.tensor(-5.5))

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Images (B, 3, 64, 64) and token ids (B, L)."""
        places = self.tokens(self.vision(pixels).flatten(2).transpose(1, 2))  # (B, 256, width)
        sentence = self.read(self.embed(ids))[1][-1]  # (B, width)
        likeness = (places * sentence[:, None]).sum(-1) / 4
        return {"match": likeness.logsumexp(1) + self.bias, "sentence": sentence}


def ids_of(texts: list[str]) -> torch.Tensor:
    """The tokenizer of this model: words to numbers."""
    return torch.tensor([[WORDS.index(word) for word in text.split()] for text in texts])


# %%
# Something to train on
# ---------------------
# Generated scenes of coloured shapes, whose label maps say what is where. A text names one thing that is there, or a
# colour and a shape that are not there together; the mask marks where the thing is.

KINDS = [f"the {color} {shape}" for color in COLORS for shape in SHAPES]


def things(scene) -> dict[str, torch.Tensor]:
    """What is in a scene, and where."""
    color, shape = torch.from_numpy(scene.labels[:2].astype(np.int64))
    kind = torch.where(color > 0, (color - 1) * len(SHAPES) + shape - 1, -1)
    return {KINDS[number]: (kind == number).float() for number in kind.unique().tolist() if number >= 0}


def pixels_of(scene) -> torch.Tensor:
    """The image as the model takes it."""
    return torch.from_numpy(scene.reference).permute(2, 0, 1) / 127.5 - 1


def batch(seed: int, count: int) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
    """Images, texts, whether they are true, and where."""
    rng, made = np.random.default_rng(seed), []
    for scene in scenes(seed, count, size=64, edits=1, labels=True):
        there = things(scene)
        true = rng.random() < 0.6
        text = str(rng.choice(list(there) if true else [kind for kind in KINDS if kind not in there]))
        made.append((pixels_of(scene), text, torch.tensor(true), there.get(text, torch.zeros(64, 64))))
    pixels, texts, true, masks = zip(*made, strict=True)
    return torch.stack(pixels), list(texts), torch.stack(true), torch.stack(masks)


start = time.process_time()
train, test = batch(1, 600), batch(2, 200)
print(f"{len(train[1])} examples to learn from, {len(test[1])} to be asked, in {time.process_time() - start:.0f} s")

# %%
# Train it where to look, too
# ---------------------------
# The model could learn from "yes" and "no" alone. A few seconds are too few for that, so its own map is trained as
# well: ``capture()`` records the forward pass that training makes anyway, ``attend()`` gives maps that can be
# differentiated, and the grounding loss compares them with the masks. Examples whose text is not true have no place;
# ``supervised`` takes them out of that loss.
#
# ``tokens`` gives (batch, 256, channels). How these lie on the image can be said: a grid of 16 x 16, row by row, with
# no class token in front.

model = Finder()


def match(output: dict[str, torch.Tensor]) -> torch.Tensor:
    """What is explained: any function of the output that gives one number a sample."""
    return output["match"]


mmgrad = MMGrad(model, "tokens", score=match, layout=Layout("tokens", grid=(16, 16), prefix=0))
grounding = AttentionGroundingLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=160)
(pixels, texts, true, masks), draw = train, np.random.default_rng(0)
ids = ids_of(texts)
start = time.process_time()
for step in range(160):
    rows = torch.from_numpy(draw.choice(len(texts), 32, replace=False))
    with mmgrad.capture() as seen:
        output = model(pixels[rows], ids[rows])
    maps = mmgrad.attend(output["match"], seen, create_graph=True, relu=False)
    answer = F.binary_cross_entropy_with_logits(output["match"], true[rows].float())
    where = grounding(maps, masks[rows], supervised=true[rows])
    optimizer.zero_grad()
    (answer + where).backward()
    optimizer.step()
    schedule.step()
    if step % 40 == 0:
        print(f"step {step:3}: answer {answer.item():.2f}, map {where.item():.2f}")
model.eval()
print(f"{time.process_time() - start:.0f} s of training")

# %%
# What it learnt, on images that it has not seen. Look at both figures: a model can answer well for a wrong reason,
# and it can look at the right place and still not know the answer.

pixels, texts, true, masks = test
ids = ids_of(texts)
with torch.no_grad():
    right = ((model(pixels, ids)["match"] > 0) == true).float().mean()
most = max(true.float().mean(), 1 - true.float().mean())
print(f"right answers: {right:.0%} (always the same answer: {most:.0%})")
rows = true.nonzero().flatten().tolist()
found = mmgrad(pixels[rows], ids[rows])
hits = [masks[row].flatten()[found.heatmap(i).argmax()].item() for i, row in enumerate(rows)]
print(
    f"the brightest pixel is on the thing: {np.mean(hits):.0%} of {len(hits)} (things cover {masks[rows].mean():.0%})"
)

# %%
# Where does it look?
# -------------------
# ``mmgrad(...)`` takes what the model takes, runs it, and gives an explanation. The model has been handed tensors, so
# the explanation does not know the images; ``heatmap()`` gives each map on the pixels, ``blend`` and ``panel`` draw.
#
# **One image, several texts.** If the map did not move with the text, it would say nothing about the text.


def look(scene, texts: list[str], explain=mmgrad):
    """The image beside its maps for some texts."""
    explanation = explain(pixels_of(scene).expand(len(texts), -1, -1, -1), ids_of(texts))
    picture = scene.reference
    maps = [blend(picture, explanation.heatmap(i), alpha=0.7) for i in range(len(texts))]
    return panel([picture, *maps], ["the picture", *texts], height=180)


shown = [scene for scene in scenes(3, 12, size=64, edits=1, labels=True) if len(things(scene)) >= 4]
look(shown[0], list(things(shown[0]))[:3])

# %%
# Do not look at one image only, nor at the good ones only: a few seconds of training leave mistakes, and the maps are
# how you see which.

look(shown[1], list(things(shown[1]))[1:4])

# %%
# Which layers are there?
# -----------------------
# ``candidate_layers`` runs the model on inputs of yours and lists the layers whose output lies on a grid over the
# image, how, and whether the score's gradient reaches them. Without a name, ``MMGrad(model)`` takes the one marked
# here. The output is a dictionary of which only ``match`` is one number a sample, so that the score is found as well.

for one in candidate_layers(model, pixels[:2], ids[:2]):
    mark = "->" if one.chosen else "  "
    print(
        f"{mark} {one.name:10} {one.type:12} {one.grid[0]} x {one.grid[1]}, {one.channels} channels, {one.layout.kind}"
    )
print(MMGrad(model, "vision.6")(pixels[:2], ids[:2]))

# %%
# The earlier the layer, the less of the image each of its places has seen, and the less it is about your words: edges
# and colours of all things light up. Compare layers before you believe one.

layers = ["vision.2", "vision.5", "vision.8", "tokens"]
text = next(iter(things(shown[0])))
inputs = pixels_of(shown[0])[None], ids_of([text])
each = [MMGrad(model, layer, score=match)(*inputs) for layer in layers]
panel([blend(shown[0].reference, one.heatmap()) for one in each], [f"{text}, {layer}" for layer in layers], height=180)

# %%
# Is it an explanation?
# ---------------------
# A bright spot on the right object convinces people even where it means nothing. Three checks take a minute.
#
# **Shuffle the texts.** With the texts of other images, the maps must change. The correlation of two maps is 1 where
# they are the same. (Where a text finds nothing at all, its map is empty: a warning says so, and the map is left out.)


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean correlation of two batches of maps; maps without a bright place are left out."""
    pairs = zip(one.flatten(1), other.flatten(1), strict=True)
    return float(np.nanmean([torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in pairs]))


own = mmgrad(pixels[rows], ids[rows]).maps
again = mmgrad(pixels[rows], ids[rows]).maps
shuffled = mmgrad(pixels[rows], ids[rows].roll(1, 0)).maps
print(f"the same text again: {alike(own, again):.2f}, another picture's text: {alike(own, shuffled):.2f}")

# %%
# **Forget the words.** With new random weights in the part that reads the text, the maps must fall apart (the sanity
# check of Adebayo et al., arXiv 1810.03292). A map that stays the same only shows that objects are easy to see.

forgetful = copy.deepcopy(model)
torch.manual_seed(1)
forgetful.embed.reset_parameters()
forgetful.read.reset_parameters()
lost = MMGrad(forgetful, "tokens", score=match, layout=Layout("tokens", grid=(16, 16), prefix=0))(
    pixels[rows], ids[rows]
)
print(f"the words forgotten: {alike(own, lost.maps):.2f}")

# %%
# **Ask for what is not there.** A map is scaled by its own maximum, so that it always points somewhere: at what comes
# nearest to the text. How near, the score says. Here the nearest thing has the right colour and another shape, and the
# scores hardly differ. This model has learnt colours before shapes, which the share of right answers hides.

absent = [kind for kind in KINDS if text.split()[1] in kind and kind not in things(shown[0])][:2]
asked = [text, *absent]
scores = mmgrad(pixels_of(shown[0])[None].expand(3, -1, -1, -1), ids_of(asked)).score
print(", ".join(f"{one}: {value:.1f}" for one, value in zip(asked, scores.tolist(), strict=True)))
look(shown[0], asked)

# %%
# Your model is as it was
# -----------------------
# Explaining leaves no hook, no gradient and no changed flag behind, also in a model that is in the middle of training.

model.train()
model.zero_grad()
model.embed.weight.requires_grad = False
before = {name: value.clone() for name, value in model.state_dict().items()}
mmgrad(pixels[:4], ids[:4])
print("still in training:", model.training)
print("still frozen:", not model.embed.weight.requires_grad)
print("still without gradients:", all(value.grad is None for value in model.parameters()))
print("weights and batch statistics as before:", all(value.equal(before[k]) for k, value in model.state_dict().items()))

# %%
# Pitfalls, and where to read on
# ------------------------------
# - *The score must depend on the text.* Class logits of an image alone give a map, but not one of your sentence.
# - *A layer behind the fusion* has words mixed into its places; take the last one before, as ``candidate_layers`` does.
# - *An empty map is an answer:* every place lowers the score. It comes with a warning and is never filled.
# - *Patches in an order of their own* (windows, tiles, shuffled) need ``layout=``, a function that puts them in place.
#
# The guide to the method has all scores, weightings and layouts with their formulas; the page about running says what
# works in half precision, compiled or on several machines; the tutorial about grounding trains maps in earnest.
