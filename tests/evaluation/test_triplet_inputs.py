"""Triplets of a folder and of a training batch."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.data.batches.batch import ImageBatch
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.triplet_inputs import batch_triplets, folder_triplets
from mmgrad_explain.evaluation.triplets import evaluate_triplets


@pytest.fixture
def folder(tmp_path, triplets):
    lines = []
    for one in triplets:
        files = {name: f"{one.id}_{name}.png" for name in ("reference", "target", "mask")}
        Image.fromarray(one.mask).save(tmp_path / files["mask"])
        one.reference.save(tmp_path / files["reference"])
        one.target.save(tmp_path / files["target"])
        files["reference"] = "a_reference.png" if one.id == "b" else files["reference"]
        side = "target" if one.on_target else "both"
        lines.append(
            json.dumps(
                {**files, "id": one.id, "text": one.text, "edit": one.edit, "class": "square", "mask_object_in": side}
            )
        )
    (tmp_path / "triplets.jsonl").write_text("\n\n".join(lines) + "\n")
    return tmp_path


def test_a_folder_gives_the_same_figures(folder, triplets, colours):
    read = folder_triplets(folder)
    assert [one.id for one in read] == ["a", "b", "c"]
    assert np.array_equal(read[0].mask, triplets[0].mask)
    memory, disk = (evaluate_triplets(colours, some) for some in (triplets, read))
    assert list(memory.maps) == ["shift, default"]
    torch.testing.assert_close(memory.maps["shift, default"], disk.maps["shift, default"])
    assert torch.equal(memory.sibling_recall, disk.sibling_recall)


def test_an_empty_set_is_refused(folder):
    (folder / "triplets.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no triplets"):
        folder_triplets(folder)


def test_triplets_of_a_training_batch():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    masks = np.zeros((2, 3, 8, 8), bool)
    masks[0, :, 0], masks[1, :, 1] = True, True
    batch = ImageBatch(
        references=pixels[:2], targets=pixels[2:], reference_masks=masks[0], target_masks=masks[1],
        texts=["x", "y", "z"], edits=["recolour", "add", "recolour"], picture=np.array([0, 0, 1]),
        partner=np.array([-1, -1, -1]), supervised=np.array([True, True, False]),
    )  # fmt: skip
    first, second = batch_triplets(batch)
    assert (first.reference_name, first.text, first.on_target) == ("0", "x", False)
    assert np.array_equal(first.mask, masks[0, 0])
    assert second.on_target
    assert np.array_equal(second.mask, masks[1, 1])
    assert np.array_equal(second.reference, pixels[0])
    assert np.array_equal(second.target, pixels[3])
