"""
What makes BLIP say that they match?
====================================

BLIP (Li et al., arXiv 2201.12086) reads image and text *together*: while it reads, its text part looks at the
image, and a head on top says whether the two match. This page explains that verdict.
"""

# %%
# A model from the hub
# --------------------
# Where no hub can be reached, a small BLIP with *random* weights takes the model's place, and its maps mean nothing.
# **The output below says which of the two answered here,** and so do the titles of the pictures. All steps are those
# of the true model.

from pathlib import Path

from mmgrad_explain import explain, phrase_maps
from mmgrad_explain.composers.stand_ins import from_hub_or_stand_in
from mmgrad_explain.images import blend, open_image, panel

blip = from_hub_or_stand_in("Salesforce/blip-itm-base-coco")
print("answering:", blip.name)

# %%
# The match logit
# ---------------
# The head's logit for "they match" is the score ``match``, taken by default. Higher is a better match; 0 has no meaning
# of its own, since the head has a second logit for "they do not". Compare texts of one image.

here = Path(__file__).parent if "__file__" in globals() else Path()
picture = open_image(here / "query.jpg")
texts = ["a blue crescent and a green ring", "a small cyan ring", "two dogs on a beach"]
explanation = explain(picture, texts, model=blip)
print(f"score {explanation.score_name}, layer {explanation.layer_names[0]}, grid {tuple(explanation.maps.shape[1:])}")
for text, score in zip(texts, explanation.score.tolist(), strict=True):
    print(f"{score:+.3f}  {text}")
maps = [blend(picture, explanation.heatmap(i), alpha=0.7) for i in range(len(texts))]
panel([picture, *maps], ["the picture", *texts], height=180, title=blip.name)

# %%
# The map lies on what the text tower reads: the last output of the vision tower, 24 x 24 patches of an image of 384
# pixels. All that the text can know of the image goes through there. BLIP squeezes an image to a square, so nothing
# is cut off; the map is stretched back.
#
# Do not take a layer of the text part: its places are words.

# %%
# Which phrase lights what?
# -------------------------
# A matching model gives one verdict on a whole sentence, and a map of the sentence shows everything that the verdict
# depends on. ``phrase_maps`` finds the phrases and explains each by itself.

phrases = phrase_maps(picture, "a blue crescent above a green ring and a cyan ring", blip)
for phrase, score in zip(phrases.phrases, phrases.explanation.score[1:].tolist(), strict=True):
    print(f"{score:+.3f}  {phrase}")
phrases.overlay()

# %%
# The words of the sentence, by what each contributes to the logit. In CLIP a word meets the image only when all of
# the text is read; here every word looks at the image, and its value depends on it. Try a wrong word, "a red
# crescent", and see with the true weights whether it pulls the logit down.

pair = ["a blue crescent and a green ring", "a red crescent and a green ring"]
with_words = explain(picture, pair, model=blip, words=True)
for index, score in enumerate(with_words.score.tolist()):
    print(f"{score:+.3f} ", ", ".join(f"{word.text} {word.scaled:+.2f}" for word in with_words.words[index]))
with_words.overlay(1, words=True)

# %%
# Another score of the same model
# -------------------------------
# BLIP has two towers as well, trained like CLIP's. ``score="image-text"`` explains these: the cosine of image and text,
# without reading them together. The two are different questions to different parts, and their maps differ; the cosine
# is read at the class token alone, so a layer is named whose patches that token still reads.

last = blip.model.config.vision_config.num_hidden_layers - 1
layer = f"model.vision_model.encoder.layers.{last}.layer_norm1"
cosine = explain(picture, texts[0], model=blip, score="image-text", layer=layer)
match = explain(picture, texts[0], model=blip, layer=layer)
panel(
    [blend(picture, one.heatmap(), alpha=0.7) for one in (match, cosine)],
    [f"match = {match.score.item():+.3f}", f"image-text = {cosine.score.item():+.3f}"],
    height=180,
    title=blip.name,
)

# %%
# Pitfalls, and where to read on
# ------------------------------
# - ``Salesforce/blip-image-captioning-base`` and ``blip-vqa-base`` have no matching head, and are refused with the name
#   of one that has: ``Salesforce/blip-itm-base-coco``.
# - BLIP-2, ViLT and BridgeTower work in the same way; the page about models lists them.
# - An empty map says that every place lowers the logit. That is common for a text that does not fit, and comes with a
#   warning.
# - :doc:`plot_clip`: two towers and a cosine. :doc:`plot_your_own_model`: checks of a map.
