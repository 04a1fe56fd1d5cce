"""Fashion200K: its layout, TIRG's texts, and what it can lack."""

import shutil

from mmgrad_explain.data.cir.fashion200k import make_replacement_text
from mmgrad_explain.data.cir.formats import read_cir


def test_fashion200k(fashion200k):
    found = read_cir("fashion200k", fashion200k)
    assert found.findings == ()
    first, second = found.queries["test"]
    folder = "women/dresses/day_dresses"
    assert first.reference == f"{folder}/2/2_0.jpeg"
    assert first.text == "replace blue with black"
    assert first.relevant == (f"{folder}/1/1_0.jpeg", f"{folder}/1/1_1.jpeg")
    assert (second.text, second.target) == ("replace black with blue", f"{folder}/3/3_0.jpeg")
    assert len(found.images.galleries["test"]) == 4


def test_training_pairs_differ_by_one_word_and_stay_the_same(fashion200k, list_findings):
    found = read_cir("fashion200k", fashion200k, ["train"])
    assert found.findings == ()
    a, b, blue, wool, _ = found.images.galleries["train"]
    pairs = [(query.reference, query.text, query.relevant) for query in found.queries["train"]]
    assert sorted(pairs) == sorted([
        *[(red, "replace red with blue", (blue,)) for red in (a, b)],
        *[(red, "replace silk with wool", (wool,)) for red in (a, b)],
        (blue, "replace blue with red", (a, b)), (wool, "replace wool with silk", (a, b)),
    ])  # fmt: skip
    assert all(query.target in query.relevant for query in found.queries["train"])
    assert read_cir("fashion200k", fashion200k, ["train"]).queries == found.queries
    (fashion200k / "labels" / "skirt_train_detect_all.txt").unlink()
    assert read_cir("fashion200k", fashion200k).complete
    assert not read_cir("fashion200k", fashion200k).queries.get("train")


def test_what_fashion200k_can_lack(fashion200k, list_findings):
    with (fashion200k / "test_queries.txt").open("a") as stream:
        stream.write("women/one.jpeg\nwomen/one.jpeg women/two.jpeg\n")
        stream.write("women/dresses/day_dresses/1/1_0.jpeg women/dresses/day_dresses/1/1_1.jpeg\n")
    with (fashion200k / "labels" / "dress_test_detect_all.txt").open("a") as stream:
        stream.write("women/three.jpeg\t0.3\n")
    found = read_cir("fashion200k", fashion200k)
    assert list_findings(found) == [
        ("test", 1, "line that is not path, score, label", "dress_test_detect_all.txt, line 4"),
        (
            "test", 2, "record of test_queries.txt that lacks something", "no. 3 is not two paths",
            "no. 4 names women/one.jpeg, which has no label",
        ),
        ("test", 1, "query whose two images have one label", "4"),
    ]  # fmt: skip
    shutil.rmtree(fashion200k / "labels")
    assert ("test", 1, "file missing", "labels/*_test_detect_all.txt") in list_findings(
        read_cir("fashion200k", fashion200k)
    )


def test_the_words_that_differ():
    assert make_replacement_text("black lace dress", "blue lace dress") == "replace black with blue"
    assert make_replacement_text("black dress", "black lace dress") == "replace dress with lace"
    assert make_replacement_text("", "red") == "replace  with red"
