"""
Why did the model say that?
===========================

A generative vision-language model answers a question about an image. The map says which patches made that answer more
likely: of the whole answer, of one word in it, token by token, and of an answer that the model did not give.
"""

from mmgrad_explain import explain
from mmgrad_explain.composers.stand_ins import from_hub_or_stand_in
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.images import blend, panel

picture = next(scenes(777, 1, size=336, start=4)).reference
question = "What is in the picture?"

# %%
# A model
# -------
#
# Any model of the families in ``docs/generative.md`` can be named by its hub id: LLaVA, Qwen-VL, PaliGemma, Gemma 3,
# SmolVLM, InternVL. This one is small, about half a billion weights. Where the hub cannot be reached, a tiny model
# with *random* weights stands in for it, and the name below says so. Then the words that it says and the maps that
# follow mean nothing: what is to be seen is how things are done, and how large everything is.

model = from_hub_or_stand_in("llava-hf/llava-interleave-qwen-0.5b-hf")
print(model.name)

# %%
# An answer and its map
# ---------------------
#
# Without ``answer`` it is explained what the model says by itself. The score is the answer's log-likelihood: the sum
# over its tokens of the log-probability that the model gives each, after the image, the question and the tokens
# before. The map's grid is that of the patches as the language model gets them.

said = explain(picture, question, model=model)
print(f"answer: {said.answers[0]!r}")
print(f"{said.score_name} = {float(said.score[0]):.2f}; a map of {' x '.join(map(str, said.maps.shape[1:]))} patches")
print("notes:", *said.notes, sep="\n  ")
said  # noqa: B018  (shown)

# %%
# With true weights look at three things. Does the map lie on what the answer is about? Is it the same for every
# question? Then it shows what is striking in the image, and nothing of the answer. And is it empty, or all over the
# image? Then the answer may come from the question alone: language models know what is likely to be on a sofa.
#
# One part of the answer
# ----------------------
#
# A sentence is about several things, and most of its tokens are about none. ``answer_part`` keeps one piece of it: only
# these words count, and what stands before them is given. So ``red`` below is not *is there something red*, but *having
# said "a", why go on with "red"?* Give ``answer`` whenever you compare: then all maps are of the same sentence.

answer = "a red circle beside one green square"
parts = ["red circle", "green square", "red", "square"]
maps = [explain(picture, question, model=model, answer=answer, answer_part=part) for part in parts]
tiles = [picture, *(blend(picture, one.heatmap(), alpha=0.75) for one in maps)]
captions = [f"{part} ({float(one.score[0]):.1f})" for part, one in zip(parts, maps, strict=True)]
panel(tiles, ["the picture", *captions], height=220, title=model.name)

# %%
# The number beside each part is its log-likelihood. A longer part has a lower one, and so has a rarer wording of the
# same: compare it between answers of one shape, or not at all. Where a part stands in the answer twice, its first
# place counts.
#
# Word by word
# ------------
#
# One map a word: read along as the answer is made. Judge the nouns and the colours; the map of a function word tells
# of what comes next as often as of anything. Each map here is drawn to its own maximum, so that a word that the
# image has no part in is as bright as one that it decides: the largest value of the map, below each word, tells
# them apart.

words = answer.split()
each = [explain(picture, question, model=model, answer=answer, answer_part=word) for word in words]
tiles = [blend(picture, one.heatmap(), alpha=0.75) for one in each]
panel(
    tiles,
    [f"{word}\n{float(one.maps.max()):.2g}" for word, one in zip(words, each, strict=True)],
    height=150,
    title=model.name,
)

# %%
# Before the ReLU the words' maps add up to that of the whole answer: nothing is counted twice and nothing is left out.

whole = explain(picture, question, model=model, answer=answer)
signed = [one.signed[model.target_layer][0] for one in (whole, *each)]
print(f"largest difference: {float((signed[0] - sum(signed[1:])).abs().max()):.1e}")

# %%
# An answer that it did not give
# ------------------------------
#
# You can explain any answer. Two answers to one question are two maps: what speaks for *red*, and what for *blue*? Ask
# this where a model is wrong. A model that mistakes one thing for another often lights that thing.

asked = "What colour is the circle?"
colours = ["red", "blue", "green"]
found = explain(picture, [asked] * 3, model=model, answer=colours)
tiles = [blend(picture, found.heatmap(index), alpha=0.75) for index in range(3)]
panel(
    tiles,
    [f"{one} ({score:.1f})" for one, score in zip(colours, found.score.tolist(), strict=True)],
    height=220,
    title=model.name,
)

# %%
# The question counts too
# -----------------------
#
# ``words=True`` adds what each word of the *question* contributes to the answer, by asking
# without it. Orange and + raise the likelihood of the same answer, blue and - lower it. Where
# one word of the question outweighs all else, ask without the image in mind.

explain(picture, asked, model=model, answer="red", words=True).overlay(words=True)

# %%
# Read on in ``docs/generative.md``: which layer a map is taken at, how tiles are laid together, and the limits. The
# most important: a vision tower has mixed the patches before, so that a token may know of other places than its own.
