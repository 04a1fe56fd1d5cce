"""
What does CLIP look at?
=======================

CLIP (Radford et al., arXiv 2103.00020) says how well an image and a text belong together. One hub id is enough to see
which places of the image speak for which text; its words, its layers and its preprocessing come with it.
"""

# %%
# A model from the hub
# --------------------
# ``load_composer("openai/clip-vit-base-patch32")`` downloads the model, once, and has it ready. This page must run
# where no hub can be reached as well, so it uses ``from_hub_or_stand_in``: the same, but offline a small CLIP with
# *random* weights takes the model's place. **The output below says which of the two answered here,** and so do the
# titles of the pictures. A stand-in has CLIP's parts, picture size and patches, so that everything works, but its maps
# mean nothing: they are an empty form, filled in when you run this page with the true weights.

from pathlib import Path

import numpy as np

from mmgrad_explain import MMGrad, candidate_layers, explain, phrase_maps
from mmgrad_explain.composers.stand_ins import from_hub_or_stand_in
from mmgrad_explain.images import blend, open_image, panel

clip = from_hub_or_stand_in("openai/clip-vit-base-patch32")
print("answering:", clip.name)

# %%
# One image, many texts
# ---------------------
# CLIP was trained on captions: describe what is there ("a red star on a blue background"), do not give commands. The
# image is encoded once, however many texts there are. The score is the cosine of image and text, and texts can be
# compared by it; maps cannot be compared by brightness, since each is scaled by its own maximum.

here = Path(__file__).parent if "__file__" in globals() else Path()
picture = open_image(here / "query.jpg")
texts = ["a blue crescent", "a green ring", "an orange ring", "a photo of a dog"]
explanation = explain(picture, texts, model=clip)
for text, score in zip(texts, explanation.score.tolist(), strict=True):
    print(f"{score:+.3f}  {text}")
maps = [blend(picture, explanation.heatmap(i), alpha=0.7) for i in range(len(texts))]
panel(maps, texts, height=180, title=clip.name)

# %%
# What to expect of the true weights: a map of 7 x 7 cells, each 32 pixels of CLIP's 224, that is, coarse blobs and no
# outlines (``openai/clip-vit-base-patch16`` has 14 x 14). CLIP sees the centre square of an image; what was cut off
# has no map. And vision transformers may keep notes of the whole image in patches that show nothing much (Darcet et
# al., arXiv 2309.16588), so that a single bright cell on the background need not be about the background: compare with
# another text before you make something of one.

print(f"grid {tuple(explanation.maps.shape[1:])}, layer {explanation.layer_names[0]}")
for note in dict.fromkeys(explanation.notes):
    print("note:", note)

# %%
# Which words does it hang on?
# ----------------------------
# ``words=True`` adds what each word of the text contributes to the cosine, by reading the sentence without
# it. Words that CLIP's tokenizer has cut into pieces are put together again.

sentence = "a small blue crescent beside an orange ring"
with_words = explain(picture, sentence, model=clip, words=True)
print(", ".join(f"{word.text} {word.scaled:+.2f}" for word in with_words.words[0]))
with_words.overlay(words=True)

# %%
# Each phrase as a text by itself, beside the sentence. With the true weights this shows whether the model keeps two
# things of one sentence apart; CLIP is known to mix them up ("a bag of words": Yuksekgonul et al., arXiv 2210.01936).

phrase_maps(picture, sentence, clip, phrases=["a small blue crescent", "an orange ring"]).overlay()

# %%
# Layers compared
# ---------------
# Which layer is explained is a choice. The one taken by itself is the input of the last attention: behind it only the
# class token is read, and the patches have no gradient any more. ``candidate_layers`` lists the others.

inputs = clip.preprocess([picture], texts[:1]).tensors
listed = [one for one in candidate_layers(clip, **inputs) if one.gradient_reaches]
for one in listed:
    if one.name.endswith("layer_norm1"):
        print("->" if one.chosen else "  ", one.name, "x".join(map(str, one.grid)), f"{one.channels} channels")

# %%
# An early layer knows edges and colours, and little of what a text may speak of. So do not choose the layer with the
# neatest map, but ask how much its map changes with the text. 1 means that all texts have the same map.

norms = [one.name for one in listed if one.name.endswith("layer_norm1")][::-1][:4][::-1]
tiles, captions = [], []
for name in norms:
    there = explain(picture, texts, model=clip, layer=name)
    flat = there.signed[name][0].flatten(1)
    same = np.corrcoef(flat.numpy())[np.triu_indices(len(texts), 1)].mean()
    print(f"{name}: correlation of the maps of different texts {same:+.2f}")
    tiles.append(blend(picture, there.heatmap(1), alpha=0.7))
    captions.append(f"{texts[1]}, layer {name.split('.')[-2]}")
panel(tiles, captions, height=180, title=clip.name)

# %%
# Several layers can make one map: ``fuse`` takes ``"mean"``, ``"max"``, ``"product"`` or a function.

fused = MMGrad(clip, norms, fuse="product")(**clip.preprocess([picture] * 2, texts[:2]).tensors)
print(fused)

# %%
# Weightings
# ----------
# How activation and gradient are put together is a choice as well. ``gradcam`` averages the gradient over the image
# first; ``hirescam`` multiplies place by place, ``layercam`` keeps only what raises the score.

weightings = ["gradcam", "layercam", "hirescam"]
made = [explain(picture, texts[1], model=clip, weighting=one) for one in weightings]
panel([blend(picture, one.heatmap(), alpha=0.7) for one in made], weightings, height=180, title=clip.name)

# %%
# Where to read on
# ----------------
# - SigLIP, ALIGN, MetaCLIP 2 and others work in the same way: give their hub id. The page about models lists them.
# - :doc:`plot_blip_matching`: a model that reads image and text together.
# - :doc:`plot_your_own_model`: checks that tell a map that means something from one that does not.
# - To look for images with CLIP, with a map on each hit, see the tutorial about searching.
