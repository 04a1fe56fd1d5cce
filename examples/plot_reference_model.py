"""
Where does the model look?
==========================

One picture, three sentences: the map goes to the object that the sentence is about. Then a query with its target.

The picture is scene 2 of the procedural series 777, which the model was not trained on::

    next(scenes(777, 1, size=480, start=2)).reference
"""

from pathlib import Path

import numpy as np

from mmgrad_explain import explain
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.images import open_image
from mmgrad_explain.overlay import blend, panel

here = Path(__file__).parent if "__file__" in globals() else Path()
query = here / "query.jpg"

# %%
# One call, several texts.

texts = ["make the blue crescent red", "remove the green ring", "make the small cyan ring bigger"]
explanation = explain(query, texts)
picture = open_image(query)
tiles = [picture] + [blend(picture, explanation.heatmap(i), alpha=0.75) for i in range(len(texts))]
sheet = panel(tiles, ["reference", *texts], height=360)
sheet.save(here / "overlay.png")

# %%
# How much to trust it: the share of the map that lies in its brightest region.

for index, text in enumerate(texts):
    region = explanation.brightest_region(index)
    left, top, right, bottom = region.box
    print(f"{text}: {region.share:.0%} of the map in x {left}..{right}, y {top}..{bottom}")

# %%
# With a target picture, the target gets a map too. What is added can only be found there.

scene = next(scenes(777, 1, size=480, start=11))
triplet = scene.triplets[1]
pair = explain(np.asarray(scene.reference), triplet.text, target=triplet.target)
print(f"{triplet.text}: reference peak {pair.peak()}, target peak {pair.peak(target=True)}")
pair.overlay(contour=True).save(here / "pair.png")
