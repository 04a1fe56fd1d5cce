"""
What do the score and the weighting change?
===========================================

How a map is made, step by step; then every score and every weighting of one image and one sentence, with figures.
The last part shows what a map is not. All of it runs on the small ``reference`` model that ships with the package.

The page "Concepts" of the documentation explains these pictures, with the formulas.
"""

import copy
import textwrap
import warnings

import numpy as np
import torch
from PIL import Image

from mmgrad_explain import MMGrad, explain, load_composer
from mmgrad_explain.attention import WEIGHTINGS
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.evaluation import image_only
from mmgrad_explain.images import blend, colorize, contour, fit, panel
from mmgrad_explain.metrics import pointing_game, rank_correlation

composer = load_composer("reference")
scene = next(scenes(777, 1, size=480, start=12))
recolour = scene.triplets[3]
picture, target, text = Image.fromarray(scene.reference), Image.fromarray(recolour.target), recolour.text
print(text)

# %%
# The image, what the sentence asks for, and the object that it is about: a white line around its exact mask.

outlined = contour(picture, recolour.reference_mask.astype(np.float32))
panel([picture, target, outlined], ["reference picture", f"target: {text}", "the object that is meant"], height=320)

# %%
# From a gradient to a picture
# ----------------------------
#
# The signed map lies on the layer's grid: red cells raise the score where their features grow, blue ones lower it.
# The ReLU keeps what raises it. The last step puts the cells on the image's own pixels.

explanation = explain(picture, text, model=composer)
(layer,) = explanation.layer_names
signed = explanation.signed[layer][0][0].numpy()
kept = explanation.maps[0].numpy()
print(f"{layer}: {signed.shape[0]} x {signed.shape[1]} cells, {(signed > 0).mean():.0%} of them above zero")


def cells(values, colormap):
    """Draw a grid with its cells as they are."""
    return Image.fromarray(colorize(values, colormap)).resize(picture.size, Image.Resampling.NEAREST)


def over(heat, of=picture):
    """Lay a map on an image."""
    return blend(of, heat, alpha=0.75)


panel(
    [cells(0.5 + 0.5 * signed / abs(signed).max(), "coolwarm"), cells(kept / kept.max(), "turbo"),
     over(explanation.heatmap())],
    ["signed map, on the layer's cells", "after the ReLU", "on the picture's pixels"],
    height=320,
)  # fmt: skip

# %%
# A model sees squares, people have images of any shape. The processor says where it laid the image, and the map
# is brought back from there: it covers the image, not the bars.

wide = picture.crop((0, 0, 480, 270))
of_wide = explain(wide, text, model=composer)
seen = fit(wide, composer.processor.image_size)[0].resize((480, 480))
in_model = of_wide.maps[0].numpy()
panel(
    [wide, seen, over(in_model / in_model.max(), seen), over(of_wide.heatmap(), wide)],
    ["a wide picture", "as the model sees it", "the map there", "the map on the picture"],
    height=320,
)

# %%
# Every score
# -----------
#
# ``shift`` needs the sentence alone; the other three compare with the target. Figures: *concentration* is the share of
# the map in its brightest tenth of the pixels (0.1 for a map that is spread out evenly), *pointing* is 1 where the
# brightest pixel lies on the object. This model's maps were trained with ``shift``, the others come as they are.


def figures(explanation):
    """Give (concentration, pointing) of an explanation's first map."""
    heat, mask = torch.from_numpy(explanation.heatmap()), torch.from_numpy(recolour.reference_mask)
    return explanation.concentration(), float(pointing_game(heat[None], mask[None]))


by_score = {
    score: explain(picture, text, target=target, model=composer, score=score)
    for score in ("shift", "similarity", "pair", "pair-different")
}
print(f"{'score':16}{'value':>10}{'concentration':>16}{'pointing':>10}")
for score, found in by_score.items():
    concentration, pointing = figures(found)
    print(f"{score:16}{float(found.score):10.4g}{concentration:16.2f}{pointing:10.0f}")

panel([over(found.heatmap()) for found in by_score.values()], list(by_score), height=320)

# %%
# With a target each of them has a second map, on the target.

panel([over(found.heatmap(target=True), target) for found in by_score.values()], list(by_score), height=320)

# %%
# The shift on the target shows what the sentence would change *there*, where no large orange object is left.
#
# The scores ``image-text``, ``match`` and ``answer`` belong to other kinds of model: the tutorials on CLIP, on BLIP and
# on models that answer in words show them.
#
# Every weighting
# ---------------
#
# One gradient, five ways to put it together with the activation. The model was trained with ``gradcam`` and
# ``hirescam``.

by_weighting = {name: explain(picture, text, model=composer, weighting=name) for name in WEIGHTINGS}
print(f"{'weighting':16}{'concentration':>16}{'pointing':>10}")
for name, found in by_weighting.items():
    concentration, pointing = figures(found)
    print(f"{name:16}{concentration:16.2f}{pointing:10.0f}")

panel([over(found.heatmap()) for found in by_weighting.values()], list(by_weighting), height=320)

# %%
# What a map is not
# -----------------
#
# *It is not a map of the image.* Two sentences about two places have two maps. The map of the image's own
# embedding, which no text reaches, is the same for both.

texts = [text, scene.triplets[2].text]
two = explain(picture, texts, model=composer)
alone = explain(picture, texts, model=composer, score=image_only)
print(f"largest difference of the two maps, by sentence: {abs(two.heatmap(0) - two.heatmap(1)).max():.3f}")
print(f"the same of the picture alone: {abs(alone.heatmap(0) - alone.heatmap(1)).max():.3f}")

panel(
    [over(two.heatmap(0)), over(two.heatmap(1)), over(alone.heatmap(0)), over(alone.heatmap(1))],
    [*texts, f"picture alone ({texts[0]})", f"picture alone ({texts[1]})"],
    height=320,
)

# %%
# *It is not a property of the image either, but of the model.* With the same sentence, and the model's weights drawn
# again from a normal distribution with their own mean and spread, nothing is left of it.


def randomised(model, seed):
    """Copy a model, with random weights of the same mean and spread."""
    copied, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    for weights in copied.parameters():
        noise = torch.randn(weights.shape, generator=generator)
        weights.data = weights.mean() + weights.std(correction=0) * noise
    copied.familiarity = None  # what the trained weights made of the training pictures
    return copied


chance = [explain(picture, text, model=randomised(composer, seed)) for seed in range(3)]
for seed, found in enumerate(chance):
    same = float(rank_correlation(explanation.maps, found.maps))
    print(f"random weights {seed}: rank correlation with the trained model's map {same:+.2f}")

panel(
    [over(explanation.heatmap()), *(over(found.heatmap()) for found in chance)],
    ["trained", "random weights 0", "random weights 1", "random weights 2"],
    height=320,
)

# %%
# *It is not always there.* Nothing in this image raises the score of adding something that is not in it yet: the map
# is negative everywhere, and empty after the ReLU. A note says so. In the target image there is
# something to see.

adding = scene.triplets[1]
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    empty = explain(picture, adding.text, target=adding.target, model=composer)
print("flat:", bool(empty.flat), " clipped:", bool(empty.clipped))
print(textwrap.fill(f"warning: {said[0].message}", 88))

empty.overlay()

# %%
# A sentence that the model knows no word of changes nothing, so that every place counts alike: flat, and not clipped.

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mmgrad = MMGrad(composer)
    unknown = mmgrad.texts(picture, ["hjkl qwerty"])
print(f"score {float(unknown.score):.1f}, flat: {bool(unknown.flat)}, clipped: {bool(unknown.clipped)}")
for note in unknown.notes:
    print("note:", note)
