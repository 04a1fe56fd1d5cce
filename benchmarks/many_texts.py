"""The cost of explaining one image for many texts, together and one by one.

    python benchmarks/many_texts.py                          # the bundled reference model, 32 texts
    python benchmarks/many_texts.py --model clothing --texts 8
    python benchmarks/many_texts.py --quick                  # few texts, one round: the figures mean nothing

Together, the image is encoded once. Everything a user waits for counts: reading and resizing the image, tokens,
forward, gradient, the result. Both ways are timed in turns, in rounds, and the ratio of a round compares neighbours in
time. First it is shown that the maps agree.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from mmgrad_explain import Composer, Explanation, MMGradWarning, explain, load_composer
from mmgrad_explain.metrics.report import environment_line, markdown_table

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "orange", "cyan")
THINGS = ("the large circle", "the small circle", "the square", "the star")


def texts_of(count: int) -> list[str]:
    """Return that many texts; from the 33rd on they repeat."""
    every = [f"make {thing} {colour}" for thing in THINGS for colour in COLOURS]
    return [every[index % len(every)] for index in range(count)]


def measure(composer: Composer, image: str, texts: list[str], rounds: int, words: bool) -> list[list[str]]:  # noqa: FBT001
    """Measure the rows of the table.

    Raises:
        RuntimeError: If the maps do not agree.
    """

    def together() -> Explanation:
        return explain(image, texts, model=composer, words=words)

    def one_by_one() -> list[Explanation]:
        return [explain(image, text, model=composer, words=words) for text in texts]

    quick, slow = together(), one_by_one()
    largest = max(float(single.maps.max()) for single in slow)
    difference = max(float((quick.maps[i] - single.maps[0]).abs().max()) for i, single in enumerate(slow)) / largest
    if difference > 1e-4:
        raise RuntimeError(f"the maps differ by {difference:.2g} of the largest value")
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        together()
        middle = time.perf_counter()
        one_by_one()
        times.append((middle - start, time.perf_counter() - middle))
    first, second = np.median(np.array(times), axis=0)
    ratio = np.median([b / a for a, b in times])
    return [
        ["together", f"{1000 * first:.0f}", f"{1000 * first / len(texts):.1f}", ""],
        ["one by one", f"{1000 * second:.0f}", f"{1000 * second / len(texts):.1f}", f"{ratio:.1f}"],
        ["largest difference of the maps", f"{difference:.1g}", "", ""],
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="reference", help="bundled name, folder or hub id (default: %(default)s)")
    add("--image", default=str(Path(__file__).parent.parent / "examples" / "query.jpg"), help="the image")
    add("--texts", type=int, default=32, help="how many (default: %(default)s)")
    add("--rounds", type=int, default=7, help="how many rounds (default: %(default)s)")
    add("--words", action="store_true", help="also compute values of words")
    add("--quick", action="store_true", help="four texts, one round")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    texts = texts_of(4 if options.quick else options.texts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MMGradWarning)
        composer = load_composer(options.model)
        rows = measure(composer, options.image, texts, 1 if options.quick else options.rounds, options.words)
    sys.stdout.write(markdown_table([f"{len(texts)} texts, {composer.name}", "ms", "ms a text", "ratio"], rows) + "\n")
    sys.stdout.write(environment_line() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
