"""Do the values of words say what happens without a word, and without two of them?

    python benchmarks/words.py                                  # both bundled models, drawn images
    python benchmarks/words.py --model clothing --labels FOLDER # photographs with label masks, as benchmarks/photos.py
    python benchmarks/words.py --model FOLDER --captions        # an image-text model: descriptions of drawn scenes
    python benchmarks/words.py --quick                          # a few sentences: the figures mean nothing

For each sentence of up to eight words every shorter sentence is scored, by the model itself on the text as one would
type it. The judge is what the score loses without one word (``single``), and without two (``pair``, against the sum of
the two words' values). A score keeps what it holds constant, as in ``explain``: for ``shift`` the direction. With
``--alternatives`` other exact values are judged too: Shapley values, the mean of a word's effect in the sentence and by
itself, and the additive values that fit single words and pairs best.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mmgrad_explain import Composer, MMGradWarning, explain, load_composer
from mmgrad_explain.attention import ensure_score
from mmgrad_explain.attention.scores.held_constants import HeldConstants
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.data.edits.templates import COLOUR_WORDS, TEMPLATES
from mmgrad_explain.data.scenes import scenes
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.report import environment_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

MOST, AT_ONCE, SMALL = 8, 64, 0.02
GARMENTS = ("dress", "coat", "shirt", "skirt", "jeans", "jacket", "sweater", "pants", "shoes", "blouse", "bag", "boots")
EDITS = ("recolour", "darken", "brighten", "gray")


def scene_sentences(options: argparse.Namespace) -> Iterator[tuple[Image.Image, str]]:
    """Draw scenes, each with a sentence that asks for an edit, or with a description of an object."""
    for scene in scenes(options.seed, options.sentences, size=320):
        edit = scene.triplets[0]
        yield Image.fromarray(scene.reference), edit.subject if options.captions else edit.text


def garment_sentences(options: argparse.Namespace) -> Iterator[tuple[Image.Image, str]]:
    """Write sentences about garments for drawn scenes: the model has no use for these images, but for the words."""
    rng = np.random.default_rng(options.seed)
    for scene in scenes(options.seed, options.sentences, size=320):
        noun = str(rng.choice(GARMENTS))
        be = "are" if noun.endswith("s") and noun != "dress" else "is"
        template = str(rng.choice(TEMPLATES[str(rng.choice(EDITS))]))
        colour = str(rng.choice(list(COLOUR_WORDS)))
        yield Image.fromarray(scene.reference), template.format(subject=f"the {noun}", detail=colour, be=be)


def photograph_sentences(options: argparse.Namespace) -> Iterator[tuple[Image.Image, str]]:
    """Edit photographs that training has held out; the sentences ask for these edits."""
    from dataclasses import replace

    from mmgrad_explain.evaluation.triplet_inputs import batch_triplets
    from mmgrad_explain.training.config_file import load_config
    from mmgrad_explain.training.sources.photos import PhotoSource

    settings = replace(load_config("clothing").sources["photos"], edits=2)
    count = len(PhotoSource(options.labels, 256, settings, held_out=True))
    source = PhotoSource(options.labels, 256, replace(settings, pictures=count), held_out=True)
    for triplet in batch_triplets(source.batch(options.seed, 0))[: options.sentences]:
        yield Image.fromarray(np.asarray(triplet.reference)), triplet.text


@torch.no_grad()
def losses(composer: Composer, image: Image.Image, words: list[str]) -> dict[tuple[bool, ...], float]:
    """Measure what the score loses in every shorter sentence, by which words it keeps."""
    kept = list(itertools.product((True, False), repeat=len(words)))
    texts = [" ".join(itertools.compress(words, one)) for one in kept]
    can, found = capabilities(composer), list[float]()
    if can.stages is None or can.reader is None:
        raise InputError(f"{composer.name} cannot encode texts by themselves")
    features = can.stages.encode_image(can.reader.encode_images([image])[0])
    whole = can.stages.compose(features, can.stages.encode_text(*can.reader.encode_texts(texts[:1])))
    held = HeldConstants(ensure_score(composer.default_score), whole)
    for start in range(0, len(texts), AT_ONCE):
        encoded = can.stages.encode_text(*can.reader.encode_texts(texts[start : start + AT_ONCE]))
        count = len(encoded[0])
        output = can.stages.compose(features.expand(count, *features.shape[1:]), encoded)
        found += held(output, torch.zeros(count, dtype=torch.long)).double().tolist()
    return {one: found[0] - value for one, value in zip(kept, found, strict=True)}


def without(count: int, *left_out: int) -> tuple[bool, ...]:
    """Return which words are kept."""
    return tuple(at not in left_out for at in range(count))


def alternatives(lost: dict[tuple[bool, ...], float], count: int) -> dict[str, Values]:
    """Compute other exact values of words from the scores of all shorter sentences."""
    places, empty = range(count), lost[(False,) * count]
    shapley = np.zeros(count)
    for kept, loss in lost.items():
        size = sum(kept)
        for at in itertools.compress(places, kept):
            fewer = (*kept[:at], False, *kept[at + 1 :])
            weight = math.factorial(size - 1) * math.factorial(count - size) / math.factorial(count)
            shapley[at] += weight * (lost[fewer] - loss)
    alone = np.array([empty - lost[tuple(other == at for other in places)] for at in places])
    single = np.array([lost[without(count, at)] for at in places])
    rows = [one for one in lost if 1 <= count - sum(one) <= 2]
    gone, fitted = 1.0 - np.array(rows, float), np.array([lost[one] for one in rows])
    return {
        "Shapley": shapley,
        "mean with the word alone": (single + alone) / 2,
        "fit of singles and pairs": np.linalg.lstsq(gone, fitted, rcond=None)[0],
    }


def judge(composer: Composer, sentences: list[tuple[Image.Image, str]], *, more: bool) -> dict[str, list[Any]]:
    """Collect, for each way, the values of each sentence's words and pairs beside what is lost without them."""
    found: dict[str, list[Any]] = {}
    for image, text in sentences:
        ways = {way: explain(image, text, model=composer, words=way) for way in ("leave-one-out", "gradient")}
        words = [word.text for word in ways["gradient"].words[0]]  # type: ignore[index]
        count, score = len(words), abs(float(ways["gradient"].score[0]))
        if not 2 <= count <= MOST or score < 1e-6:
            continue
        lost = losses(composer, image, words)
        pairs = list(itertools.combinations(range(count), 2))
        single = np.array([lost[without(count, at)] for at in range(count)])
        pair = np.array([lost[without(count, *two)] for two in pairs])
        values = {way: np.array([word.value for word in of.words[0]]) for way, of in ways.items()}  # type: ignore[index]
        for way, own in (values | (alternatives(lost, count) if more else {})).items():
            sums = np.array([own[list(two)].sum() for two in pairs])
            found.setdefault(way, []).append(SimpleNamespace(own=own, single=single, sums=sums, pair=pair, score=score))
    return found


def agree(first: Values, second: Values) -> npt.NDArray[np.bool_]:
    """Return where two values have one sign."""
    return np.sign(first) == np.sign(second)


def scaled(values: Values) -> Values:
    """Divide by the largest magnitude, as ``Word.scaled`` is."""
    return values / max(float(np.abs(values).max()), 1e-12)


def rows_of(found: dict[str, list[Any]], seed: int) -> list[list[str]]:
    """Make a row of the table for each way; intervals are over sentences (bootstrap, 95 %)."""
    rng, rows = np.random.default_rng(seed), []
    for way, each in found.items():
        row = [way]
        for own, lost in (("own", "single"), ("sums", "pair")):
            hits = [agree(getattr(one, own), getattr(one, lost)) for one in each]
            drawn = rng.integers(0, len(hits), (500, len(hits)))
            means = [np.concatenate([hits[index] for index in some]).mean() for some in drawn]
            low, high = np.quantile(means, (0.025, 0.975))
            large = [np.abs(getattr(one, lost)) >= SMALL * one.score for one in each]
            known = np.concatenate(hits)[np.concatenate(large)]
            values = [np.concatenate([scaled(getattr(one, name)) for one in each]) for name in (own, lost)]
            row += [f"{np.concatenate(hits).mean():.3f} ({low:.2f} to {high:.2f})", f"{known.mean():.3f}"]
            row.append(f"{np.corrcoef(*values)[0, 1]:.2f}")
        rows.append(row)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", action="append", help="bundled name, folder or hub id; may be repeated (default: both bundled)")
    add("--sentences", type=int, default=120, help="how many (default: %(default)s)")
    add("--labels", type=Path, metavar="FOLDER", help="photographs with label masks, for sentences about garments")
    add("--captions", action="store_true", help="describe an object of a drawn scene, for image-text models")
    add("--alternatives", action="store_true", help="also judge other exact values")
    add("--seed", type=int, default=31, help="of images and sentences (default: %(default)s)")
    add("--quick", action="store_true", help="a few sentences of one model")
    options = parser.parse_args(argv)
    if options.quick:
        options.model, options.sentences, options.alternatives = ["reference"], 3, True
    warnings.simplefilter("ignore", MMGradWarning)
    print(f"{environment_line()}\n")
    for name in options.model or ("reference", "clothing"):
        composer = load_composer(name)
        make = scene_sentences
        if name == "clothing":
            make = garment_sentences if options.labels is None else photograph_sentences
        sentences = list(make(options))
        found = judge(composer, sentences, more=options.alternatives)
        each = found["gradient"]
        counts = f"{len(each)} sentences, {sum(len(one.single) for one in each)} words, "
        print(f"{composer.name}, score {composer.default_score}: {counts}{sum(len(one.pair) for one in each)} pairs\n")
        small = f"of a loss of {SMALL:.0%} of the score or more"
        header = ["way", "single: sign", small, "correlation", "pair: sign", small, "correlation"]
        print(markdown_table(header, rows_of(found, options.seed)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
