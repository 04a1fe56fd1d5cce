"""What a set of edited photographs counts of itself."""

from dataclasses import replace

import pytest

from mmgrad_explain.data.edits.manifest import EditTally
from mmgrad_explain.data.instances.records import InstanceSet, Photo
from mmgrad_explain.errors import InputError

SOURCE = InstanceSet(
    (Photo("a.jpg", "a.jpg"), Photo("b.jpg", "b.jpg")), ("dog",), {"photograph missing": ["c"]}, "COCO"
)


def record(photo, **more):
    return {
        "source_image": photo, "edit": "blur", "class": "dog", "qualifier": "only", "fold": 3, "license": "",
        "license_url": "", "attribution": "", "contrast_ids": [], **more,
    }  # fmt: skip


def entry(photo, *problems, **skipped):
    return {"photo": photo, "skipped": skipped, "problems": list(problems)}


def test_photographs_records_and_reasons_are_counted():
    tally = EditTally(SOURCE, 2)
    tally.add(entry("a.jpg", too_small=2), [record("a.jpg", contrast_ids=["x"]), record("a.jpg", edit="add", fold=0)])
    tally.add(entry("b.jpg", "is damaged", too_small=1, too_thin=4), [])
    assert tally.summarize() == {
        "asked": 2,
        "photographs": {"in the data set": 2, "tried": 2, "used": 1},
        "edits": {"add": 1, "blur": 1},
        "classes": {"dog": 2},
        "qualifiers": {"only": 2},
        "folds": {"0": 1, "3": 1},
        "licences": {"not stated": 2},
        "with contrast partners": 1,
        "skipped": {"too_small": 3, "too_thin": 4},
        "problems": {
            "damaged": {"count": 1, "first": ["b.jpg: is damaged"]},
            "photograph missing": {"count": 1, "first": ["c"]},
        },
        "source": "COCO",
    }


def test_long_lists_of_problems_are_counted_and_cut():
    names = [str(number) for number in range(50)]
    tally = EditTally(replace(SOURCE, problems={"photograph missing": names}), None)
    tally.add(entry("a.jpg"), [record("a.jpg")])
    assert tally.summarize()["problems"] == {"photograph missing": {"count": 50, "first": names[:20]}}


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        (entry("a.jpg", thin=1, small=3), r"small \(3\), thin \(1\)"),
        (entry("a.jpg", "is damaged"), "is damaged"),
        (entry("a.jpg"), "no objects"),
    ],
)
def test_a_set_without_a_triplet_is_refused_with_the_reason(added, reason):
    tally = EditTally(SOURCE, None)
    tally.add(added, [])
    with pytest.raises(InputError, match=f"not one triplet could be made of 1 photographs: {reason}$"):
        tally.summarize()


def test_licences_list_their_photographs_once():
    tally = EditTally(SOURCE, None)
    by = {"license": "CC BY", "license_url": "http://by", "attribution": "Ann"}
    tally.add(entry("b.jpg"), [record("b.jpg", **by), record("b.jpg", **by)])
    tally.add(entry("a.jpg"), [record("a.jpg")])
    ((name, text),) = tally.texts().items()
    assert name == "LICENSES.txt"
    assert text.endswith(
        "\n\nLicence not stated: find out before you share these\n    a.jpg\n\nCC BY http://by\n    b.jpg  Ann\n"
    )
