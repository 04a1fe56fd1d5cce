"""
How well do maps lie?
=====================

A map that looks right on three images is no evidence. Here maps are measured on images whose masks are exact,
against floors that know nothing, by score and by weighting, and then tested without any mask: do they show what the
model uses?
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from mmgrad_explain import explain, load_composer
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.evaluation import IMAGE_ONLY, MapKind, evaluate_scenes, scene_faithfulness
from mmgrad_explain.images import blend, contour, panel
from mmgrad_explain.metrics import (
    best_fixed_point,
    chance,
    confidence_half_width,
    energy_inside,
    image_centre,
    intersection_over_union,
    pointing_game,
)

SEED = 777  # a series of scenes that the bundled model was not trained on
composer = load_composer("reference")

# %%
# One map, three figures
# ----------------------
#
# A procedural scene knows where its edit is, to the pixel. The outline is that mask; the map should lie in it.
#
# - *Pointing*: is the brightest pixel inside? 1 or 0.
# - *Energy*: what share of the map's mass is inside? A map that spreads has little, even if its peak is right.
# - *IoU*: cut the map at half its maximum; how well does that region cover the mask?

picture = list(scenes(SEED, 3, size=384, start=24))
asked = [(one.reference, one.triplets[0].text, one.triplets[0].reference_mask) for one in picture]
explanation = explain([image for image, _, _ in asked], [text for _, text, _ in asked], model=composer)

tiles, captions = [], []
for index, (image, text, mask) in enumerate(asked):
    heat = torch.from_numpy(explanation.heatmap(index))[None]
    inside = torch.from_numpy(mask)[None]
    figures = [float(measure(heat, inside)) for measure in (pointing_game, energy_inside, intersection_over_union)]
    tiles.append(contour(blend(image, explanation.heatmap(index), alpha=0.7), mask.astype(np.float32)))
    captions.append("{}: pointing {:.0f}, energy {:.2f}, IoU {:.2f}".format(text, *figures))
panel(tiles, captions)

# %%
# Many maps, and what knows nothing
# ---------------------------------
#
# Now on 24 scenes with 4 edits each. The map of an *add* is judged on the target, where the new object is; all others
# on the reference. Different scores and weightings come from one forward, so a comparison costs little. *image only*
# is Grad-CAM of the image's own embedding, which never sees the text.

weightings = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"]
others = [MapKind(score, "gradcam") for score in ("similarity", "pair", IMAGE_ONLY)]
found = evaluate_scenes(composer, seed=SEED, scenes=24, methods=weightings, others=others)

# %%
# The same masks give the floors: a random pixel, the centre of the image, and the one point that hits most masks.
# That point is chosen with the answers in hand, so it is more than any fixed point deserves. A pixel has no energy
# and no IoU; for a map that is equally bright everywhere both are about the mask's share of the image.

masks = [
    torch.from_numpy(one.target_mask if one.edit == "add" else one.reference_mask)
    for scene in scenes(SEED, 24, size=composer.processor.image_size)
    for one in scene.triplets
]
fixed, (down, across) = best_fixed_point(masks)
share = float(chance(masks).mean())
floors = {
    "a random pixel": (share, share, share),
    "the centre": (float(image_centre(masks).mean()), None, None),
    f"always {across:.0%} across, {down:.0%} down": (fixed, None, None),
}

rows = {}
for name in found.maps:
    means = found.means(name)
    rows[f"shift, {name}" if name in weightings else name] = [
        means[figure] for figure in ("pointing", "energy", "iou", "contrast", "dead")
    ]
rows |= {name: [*figures, None, None] for name, figures in floors.items()}

print(
    f"{len(found.edits)} maps; the right picture of {found.gallery} is found first in {float(found.recall.mean()):.1%}"
)
print(f"{'':32}{'pointing':>10}{'energy':>10}{'IoU':>10}{'contrast':>10}{'dead':>10}")
for name, figures in rows.items():
    print(f"{name:32}" + "".join(f"{'' if value is None else f'{value:.3f}':>10}" for value in figures))
print(f"\n95 % interval of the first pointing: ± {confidence_half_width(found.maps['gradcam']['pointing']):.3f}")

# %%
# What to look at:
#
# - *By score.* The bundled model was trained to put the maps of ``shift`` right. Its maps of other scores are hardly
#   above the floors. Never read one score's figures as another's.
# - *By weighting.* They share one gradient and still differ by a lot: one can point and yet spread over half the
#   image.
# - *Contrast* asks whether the map moves with the text: two texts, two regions, is it brighter on its own? What ignores
#   the text has 0.5 by construction, however well it points.
# - *Dead* maps, with no bright place at all, are misses everywhere. A method that leaves them out looks better than
#   it is.

names = list(rows)
figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for axis, title in zip(axes, ("pointing", "energy", "contrast"), strict=True):
    values = [rows[name][{"pointing": 0, "energy": 1, "contrast": 3}[title]] for name in names]
    colours = ["#2f6db3" if name.startswith("shift") else "#b0b0b0" if name in floors else "#d98032" for name in names]
    axis.barh(names, [value or 0 for value in values], color=colours)
    floor = {"pointing": fixed, "energy": share, "contrast": 0.5}[title]
    axis.axvline(floor, color="black", linestyle=":", linewidth=1)
    axis.set(title=title, xlim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
axes[0].invert_yaxis()
_ = figure.suptitle("Blue: the trained score. Orange: other scores. Grey: floors. Dotted: what knows nothing.", size=10)

# %%
# A mean hides where a model is weak. Look at it by kind of edit, and by what names the object.

energy = found.maps["gradcam"]["energy"]
for title, groups in (("kind of edit", found.by_edit(energy)), ("named by", found.by_name(energy))):
    worst = sorted(groups.items(), key=lambda one: one[1])[:4]
    print(f"least energy by {title}: " + "; ".join(f"{kind} {value:.2f}" for kind, value in worst))

# %%
# Is it what the model uses?
# --------------------------
#
# A map can lie on the object and still not be what the model depends on; a model taught to point can learn to point for
# show. Two tests need no mask:
#
# - *Deletion*: blur the brightest places first and follow the score; *insertion*: bring them back first. The gain is
#   the area between that and the same map with its cells shuffled. Above 0 is good.
# - *Randomized weights*: replace what was learned by noise. If the map stays the same (rank correlation near 1), it
#   showed the image and not the model. Near 0 is good.
#
# Two scores are followed. *Shift* is what the map explains; *retrieval* is 1 where the right image is found among the
# scene's own, else 0. Every map takes dozens of forwards, so this runs on few scenes. Read the interval first: one that
# holds 0 says nothing yet, and takes more scenes.

kind = MapKind("shift", "gradcam")
result = scene_faithfulness(composer, seed=SEED, scenes=5, steps=6, kinds=[kind])[kind]
print(f"{kind.name}, {len(result.randomized)} maps, mean with its 95 % interval")
for name, gains in (("shift", result.shift), ("retrieval", result.retrieval)):
    line = ", ".join(
        f"{which} {float(one.mean()):+.3f} ± {confidence_half_width(one):.3f}" for which, one in gains.items()
    )
    print(f"gain in {name}: {line}")
print(
    f"rank correlation with random weights: {float(result.randomized.mean()):+.3f} "
    f"± {confidence_half_width(result.randomized):.3f}"
)

# %%
# On your own images
# ------------------
#
# What you need is a text for each image and where it should look: a mask of the image's size, or a box.
# Everything is measured on the image's own pixels: ``heatmap`` undoes the resizing and the letterbox. The images
# and boxes below stand for yours.

own = list(scenes(SEED, 12, size=300, start=40))
images = [one.reference for one in own]
edits = [next(edit for edit in one.triplets if edit.edit != "add") for one in own]
texts = [edit.text for edit in edits]
boxes = []
for edit in edits:
    y, x = np.nonzero(edit.reference_mask)
    boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))  # left, top, right, bottom in pixels

explanation = explain(images, texts, model=composer)
hits, energies = [], []
for index, (left, top, right, bottom) in enumerate(boxes):
    heat = torch.from_numpy(explanation.heatmap(index))[None]
    inside = torch.zeros_like(heat, dtype=torch.bool)
    inside[:, top:bottom, left:right] = True
    hits.append(pointing_game(heat, inside))
    energies.append(energy_inside(heat, inside))
print(f"in {len(boxes)} boxes: pointing {float(torch.cat(hits).mean()):.2f}", end=", ")
print(f"energy {float(torch.cat(energies).mean()):.2f}")

# %%
# A box holds ground around the object, so pointing and energy in boxes are higher than in masks: compare like with
# like, and compute the floors on your own boxes. For a whole set of triplets with masks (``mmgrad-explain data
# edits`` makes such sets of COCO) use ``evaluate_triplets``.
#
# What these figures do not say: that the model is right, that a place *causes* the score, or that maps of other
# images lie as well. The scenes here are of the kind the model was trained on. ``docs/evaluation.md`` has scenes
# unlike them, photographs, and the figures of several training seeds.
