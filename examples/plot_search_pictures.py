"""
Which of my images is it, and where?
======================================

Index a folder, ask with an image and a sentence, and get a map for every hit: where it has what the sentence
speaks of. Then take a hit as the next image and go on. The embeddings are kept by Milvus, in a folder on your own
disk.
"""

import tempfile
from itertools import combinations
from pathlib import Path

from PIL import Image

from mmgrad_explain import Gallery, InputError
from mmgrad_explain.data.edits import dilate_mask
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.images import panel

work = tempfile.TemporaryDirectory()
photos = Path(work.name) / "photos"
photos.mkdir()

# %%
# Some images
# -----------
#
# Your folder of photographs would stand here. For the example: 16 scenes of coloured shapes, with one, two or three of
# their edits. ``12.png`` is scene 12, ``12d.png`` the same after its fourth edit, ``12ad.png`` after the first and the
# fourth. So every image has a dozen near twins in the folder, and only the sentence tells which of them is meant.


def apply(scene, edits):
    """The scene's image after some of its edits, None where they touch one another."""
    picture, taken = scene.reference.copy(), 0
    for edit in edits:
        place = dilate_mask(edit.reference_mask | edit.target_mask, 2)
        taken = taken + place
        picture[place] = edit.target[place]
    return None if (taken > 1).any() else picture


for number, scene in enumerate(scenes(777, 16, size=192)):
    Image.fromarray(scene.reference).save(photos / f"{number:02}.png")
    lettered = list(zip("abcd", scene.triplets, strict=True))
    for some in [some for count in (1, 2, 3) for some in combinations(lettered, count)]:
        picture = apply(scene, [edit for _, edit in some])
        if picture is not None:
            Image.fromarray(picture).save(photos / f"{number:02}{''.join(letter for letter, _ in some)}.png")

shown = sorted(photos.glob("12*.png"))[:8]
panel(shown, [file.name for file in shown], height=130)

# %%
# Index the folder
# ----------------
#
# This is ``mmgrad-explain index photos/ --gallery mine.db`` on the command line. No model is named: the images choose
# one of the bundled models. It needs
# ``pip install "mmgrad-explain[gallery]"``. Nothing leaves your machine: model and Milvus run in this process. Run it
# again whenever images came or went; only those are embedded.

gallery = Gallery(Path(work.name) / "mine.db", create=True)
report = gallery.index([photos])
again = gallery.index([photos])
print(f"model {gallery.composer.name}: {gallery.about['model_choice']}")
print(f"{report.added} pictures indexed; the second time {again.added} were new and {again.unchanged} as they were")

# %%
# Ask
# ---
#
# The query is embedded as *image plus change*, and the gallery is searched for what is nearest. The reference
# itself is left out. Scores are cosines: the order says something, and the distance to the next hit; the bare number
# says little.

asked = photos / "12.png"
found = gallery.retrieve(asked, "paint the large red one blue", k=6)
for hit in found.hits:
    print(f"{hit.rank}. {Path(hit.path).name:12} {hit.score:.3f}")

# %%
# And where
# ---------
#
# ``explain`` draws a map beside the query and beside each hit: the places that the sentence is about. These are maps of
# ``shift``, the score whose maps the bundled model was trained for. Look first at the query's. If it lies on the wrong
# object, the model did not understand the sentence, and the hits are chance. A hit's map shows where the hit has what
# the sentence is about. It does not show why the hit was found: hits are ranked by ``similarity``, to which what is
# *kept* matters as much as what was changed. Its maps (``score="similarity"``) were not trained.

gallery.explain(found).sheet(height=150)

# %%
# Go on from a hit
# ----------------
#
# The first hit is the next reference, with a sentence of its own. With the command line, a session file remembers the
# hits: ``mmgrad-explain retrieve --reference-hit 1 "erase the small red square" --session s.json``.

second = gallery.retrieve(found.hits[0].path, "erase the small red square", k=6)
gallery.explain(second).sheet(height=150)

# %%
# And once more. Each turn starts from a real image of the gallery and not from a guess, so an error does not grow:
# where a turn goes wrong, take another of its hits, or say it otherwise.

third = gallery.retrieve(second.hits[0].path, "shrink the cyan triangle", k=6)
gallery.explain(third).sheet(height=150)

# %%
# What came of it: every turn should have added one letter.

turns = [asked, *(Path(turn.hits[0].path) for turn in (found, second, third))]
captions = ["12.png", *(f"{turn.text}: {Path(turn.hits[0].path).name}" for turn in (found, second, third))]
panel(turns, captions, height=220)

# %%
# When it does not find what you mean
# -----------------------------------
#
# Notes name the words that the model does not know, and the images unlike those it was trained on. A sentence is
# refused if the model knows none of the words that name objects or looks. The bundled models know coloured shapes and
# garments. For other photographs index with another model, for example
# ``Gallery("mine.db", "openai/clip-vit-base-patch32", create=True)``. A gallery belongs to one model and refuses
# another.

lost = gallery.retrieve(asked, "make the large red one look like a watercolour", k=3)
for note in lost.notes:
    print("note:", note)
try:
    gallery.retrieve(asked, "make it look like a watercolour", k=3)
except InputError as error:
    print("refused:", error)

# %%
# A gallery in a file is used by one process at a time: close it, or use ``with Gallery(...) as gallery``. More in
# ``docs/gallery.md``: a Milvus server instead of a file, what is stored, and what it costs with a hundred thousand
# images.

gallery.close()
work.cleanup()
