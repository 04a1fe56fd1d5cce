"""
Where does the model look?
==========================

One image and a sentence go in, a map comes out. This page uses a model that ships with the package: it is small, it
runs offline, and it knows scenes of coloured shapes. All of it works the same with any other model.
"""

# %%
# The first map
# -------------
# ``explain`` takes an image in any form (path, bytes, PIL image, array, tensor) and says where the model looks because
# of the text. ``overlay()`` draws it as a picture; in a notebook an explanation shows itself.

import tempfile
from pathlib import Path

import numpy as np

from mmgrad_explain import explain, phrase_maps
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.images import blend, open_image, panel

here = Path(__file__).parent if "__file__" in globals() else Path()
query = here / "query.jpg"

explanation = explain(query, "make the blue crescent red")
explanation.overlay()

# %%
# What does it mean?
# ------------------
# The model turns image and sentence into one embedding, with which it would search for an image of the result. The
# map shows which places the sentence's part of that embedding hangs on. ``in_words()`` says so without formulas, with
# the figures of this very map, and says what a map never shows.

print(explanation.in_words())

# %%
# Each of these figures is there for a program, too.

region = explanation.brightest_region()
left, top, right, bottom = region.box
print(f"score {explanation.score.item():.3f} ({explanation.score_name}), model {explanation.model}")
print(f"peak at (y, x) = {explanation.peak()}; {region.share:.0%} of the map in x {left}..{right}, y {top}..{bottom}")
print(f"map {tuple(explanation.maps.shape)} on the layer's grid, {explanation.heatmap().shape} on the picture's pixels")

# %%
# Another sentence, another map
# -----------------------------
# This is the first thing to check of any model: does the map follow the text? Several texts about one image cost one
# encoding of the image.

texts = ["make the blue crescent red", "remove the green ring", "make the small cyan ring bigger"]
explanation = explain(query, texts)
picture = open_image(query)
tiles = [picture] + [blend(picture, explanation.heatmap(i), alpha=0.75) for i in range(len(texts))]
panel(tiles, ["reference", *texts], height=360)

# %%
# Which words count?
# ------------------
# With ``words=True`` each word gets a value: how much the score would grow if the word spoke a little louder. The
# values come from the same backward pass as the map. A word with a large value is one that the score hangs on, not one
# that describes the image, and it need not be the noun.

with_words = explain(query, "make the blue crescent red", words=True)
print(", ".join(f"{word.text} {word.scaled:+.2f}" for word in with_words.words[0]))
with_words.overlay(words=True)

# %%
# Which phrase means which place?
# -------------------------------
# ``phrase_maps`` explains every phrase of a sentence as a text by itself, beside the whole sentence. That is another
# question than the phrase in its sentence, since the model reads no other word with it.

phrases = phrase_maps(query, "swap the blue crescent and the green ring")
print(phrases.phrases)
phrases.overlay()

# %%
# With a target image
# -------------------
# Composed retrieval has a reference, a sentence, and a target that the sentence leads to. Hand in the target, and it
# gets a map too; the reference's map stays what it is. What is *added* can only be found in the target.

scene = next(scenes(777, 1, size=480, start=11))
triplet = scene.triplets[1]
pair = explain(scene.reference, triplet.text, target=triplet.target)
print(f"{triplet.text}: reference peak {pair.peak()}, target peak {pair.peak(target=True)}")
pair.overlay(contour=True)

# %%
# Another question needs another score. ``similarity`` shows what makes image and sentence together like this target,
# and that is mostly what stays the same, so that the map is wide. Choose the score before you read the map.

explain(scene.reference, triplet.text, triplet.target, score="similarity")

# %%
# When not to believe it
# ----------------------
# A map is scaled by its own maximum, so that it points somewhere also where the question makes no sense. There is no
# purple heart in the image, and the model does not know what a zebra is.

for text in (nonsense := ["remove the green ring", "remove the purple heart", "remove the zebra"]):
    one = explain(query, text, model="reference")
    print(f"{text}: score {one.score.item():.0f}, in the brightest tenth {one.concentration():.0%} of the map")
    for note in one.notes:
        print("   note:", note)
asked = explain(query, nonsense, model="reference")
panel([blend(picture, asked.heatmap(i), alpha=0.75) for i in range(3)], nonsense, height=360)

# %%
# A **note** names the word that the model never learnt: read the notes first. No note mentions the heart. This
# score says how far the sentence moves the embedding, not whether it fits the image, and a map can be as sharp on a
# wrong place as on the right one. That a map is sharp is no evidence that it is right.

# %%
# Keep it
# -------
# ``save`` writes a folder, all or nothing: the maps as arrays, each overlay as a picture, and a manifest that says how
# they were made.

with tempfile.TemporaryDirectory() as folder:
    saved = explanation.save(Path(folder) / "crescent")
    print(sorted(path.name for path in saved.iterdir()))
    with np.load(saved / "maps.npz") as arrays:
        print({name: array.shape for name, array in arrays.items()})

# %%
# Where to read on
# ----------------
# - :doc:`plot_your_own_model` explains a model of your own, and checks its maps.
# - :doc:`plot_clip` and :doc:`plot_blip_matching` ask models from a hub.
# - The guide to the method has the scores and weightings with their formulas.
#
# On the command line this page is ``mmgrad-explain overlay query.jpg "make the blue crescent red"``.
