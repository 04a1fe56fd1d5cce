"""Small triplet sets of both kinds; as a program, one whose process is killed while it writes.

``python small_sets.py KIND PHOTOS OUT N`` is killed when it is about to put its N-th file in place.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmgrad_explain.data.edits.build import build_edits
from mmgrad_explain.data.edits.options import EditOptions
from mmgrad_explain.data.instances.readers import read_coco
from mmgrad_explain.data.scenes.build import build_scenes
from mmgrad_explain.data.scenes.set_options import SceneSetOptions

KINDS = ("edits", "scenes")
EDITS = EditOptions(size=48, edits_per_image=2, min_area=0.01, kinds=("recolour", "darken"))
SCENES = SceneSetOptions(seed=3, size=32)


def make_photographs(folder):
    """Three photographs with two boxes each, as COCO has them."""
    rng = np.random.default_rng(0)
    annotations = []
    for number in range(3):
        pixels = rng.integers(100, 130, (48, 48, 3)).astype(np.uint8)
        for left in (4, 28):
            pixels[8:28, left : left + 14] = rng.integers(0, 255, 3)
            box = [left, 8, left + 14, 8, left + 14, 28, left, 28]
            label = {"id": len(annotations), "image_id": number, "category_id": 0, "segmentation": [box]}
            annotations.append(label)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(3)]
    labels = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "dog"}]}
    (folder / "coco.json").write_text(json.dumps(labels))


def build(kind, photographs, out, **flags):
    """Build a set; of three tasks where a task is one scene."""
    if kind == "scenes":
        return build_scenes(out, flags.pop("count", 10), SCENES, **flags)
    return build_edits(read_coco(photographs, photographs / "coco.json"), out, EDITS, **flags)


def die_at(number):
    """Be killed instead of putting the file of this number in place."""
    put, count = Path.replace, iter(range(1, number + 1))

    def replace(self, goal):
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return put(self, goal)

    Path.replace = replace


if __name__ == "__main__":
    kind, photographs, out, number = sys.argv[1:]
    die_at(int(number))
    build(kind, Path(photographs), Path(out))
