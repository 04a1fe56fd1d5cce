"""The benchmarks' protocols against slow loops over names, as a reader of their papers would write them."""

import math
import random
from dataclasses import replace

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.protocols import PROTOCOLS
from mmgrad_explain.metrics.rankings import RANKING_FIGURES, RankingQueries, score_rankings, summarize

NAMES = [f"p{i}" for i in range(60)]


def random_queries(seed, count=25):
    """Queries by name, with groups and soft targets, and their similarities; every fifth lists its own reference."""
    draw = random.Random(seed)
    queries = []
    for number in range(count):
        group = draw.sample(NAMES, 6)
        reference, target = group[:2]
        soft = {target: 1.0, group[2]: -1.0, draw.choice(NAMES): 0.5}
        if number % 5 == 0:
            soft = {reference: 1.0, group[3]: 0.2}
        right = [target, *draw.sample([n for n in NAMES if n not in group], 3)]
        queries.append({"reference": reference, "target": target, "group": group, "soft": soft, "relevant": right})
    make = torch.Generator().manual_seed(seed)
    similarity = torch.randn(count, len(NAMES), generator=make)
    for row, query in zip(similarity, queries, strict=True):  # a model that mostly finds the reference itself
        row[NAMES.index(query["reference"])] += 4
        row[NAMES.index(query["target"])] += 1.5
    return queries, similarity


def indices_of(queries):
    return RankingQueries.from_names(
        NAMES,
        references=[q["reference"] for q in queries],
        targets=[q["target"] for q in queries],
        relevant=[q["relevant"] for q in queries],
        groups=[q["group"] for q in queries],
        soft=[q["soft"] for q in queries],
    )


def ranked(row, allowed):
    return sorted(allowed, key=lambda name: -row[NAMES.index(name)])


def figures(name, queries, similarity, chunk=7, **changes):
    protocol = replace(PROTOCOLS[name], **changes)
    return score_rankings(protocol, indices_of(queries), similarity.split(chunk))


def test_cirr():
    queries, similarity = random_queries(0)
    found = figures("cirr", queries, similarity)
    assert list(found) == ["R@1", "R@5", "R@10", "R@50", "R_subset@1", "R_subset@2", "R_subset@3"]
    for i, (query, row) in enumerate(zip(queries, similarity.double().tolist(), strict=True)):
        order = ranked(row, [n for n in NAMES if n != query["reference"]])
        subset = ranked(row, [n for n in query["group"] if n != query["reference"]])
        assert len(subset) == 5
        for k in (1, 5, 10, 50):
            assert float(found[f"R@{k}"][i]) == (query["target"] in order[:k])
        for k in (1, 2, 3):
            assert float(found[f"R_subset@{k}"][i]) == (query["target"] in subset[:k])
    kept = figures("cirr", queries, similarity, exclude_reference=False)
    assert float(kept["R@1"].mean()) < float(found["R@1"].mean())


def test_cirr_with_soft_targets():
    queries, similarity = random_queries(1)
    found = figures("cirr", queries, similarity, soft=True)
    for i, (query, row) in enumerate(zip(queries, similarity.double().tolist(), strict=True)):
        order = ranked(row, [n for n in NAMES if n != query["reference"]])
        subset = ranked(row, [n for n in query["group"] if n != query["reference"]])
        for name, ranking, ks in (("R", order, (1, 5, 10, 50)), ("R_subset", subset, (1, 2, 3))):
            for k in ks:
                score = max([0.0, *(query["soft"].get(picture, 0.0) for picture in ranking[:k])])
                assert float(found[f"{name}@{k}"][i]) == score
    assert 0.2 in found["R@50"].tolist()  # the reference would have scored 1


def test_circo():
    queries, similarity = random_queries(2)
    found = figures("circo", queries, similarity)
    for i, (query, row) in enumerate(zip(queries, similarity.double().tolist(), strict=True)):
        order = ranked(row, NAMES)  # the reference stays
        for k in (5, 10, 25, 50):
            hits, total = 0, 0.0
            for place, picture in enumerate(order[:k], 1):
                if picture in query["relevant"]:
                    hits += 1
                    total += hits / place
            assert float(found[f"mAP@{k}"][i]) == pytest.approx(total / min(4, k), abs=1e-12)
            assert float(found[f"R@{k}"][i]) == (query["target"] in order[:k])


@pytest.mark.parametrize(
    ("name", "ks", "keeps", "any_right"),
    [
        ("fashioniq", (10, 50), True, False),
        ("shoes", (1, 10, 50), False, False),
        ("lasco", (1, 5, 10, 50), True, False),
        ("fashion200k", (1, 10, 50), False, True),
        ("jsonl", (1, 5, 10, 50), False, True),
    ],
)
def test_recalls(name, ks, keeps, any_right):
    queries, similarity = random_queries(3)
    found = figures(name, queries, similarity)
    assert list(found) == [f"R@{k}" for k in ks]
    for i, (query, row) in enumerate(zip(queries, similarity.double().tolist(), strict=True)):
        order = ranked(row, [n for n in NAMES if keeps or n != query["reference"]])
        right = set(query["relevant"]) if any_right else {query["target"]}
        for k in ks:
            assert float(found[f"R@{k}"][i]) == bool(right & set(order[:k]))


def test_chunks_make_no_difference():
    queries, similarity = random_queries(4)
    whole = figures("cirr", queries, similarity, chunk=1000)
    for name, values in figures("cirr", queries, similarity, chunk=1).items():
        assert torch.equal(values, whole[name])


def test_means_of_categories_are_not_weighted():
    protocol = PROTOCOLS["fashioniq"]
    parts = {
        "dress.val": {"R@10": torch.tensor([1.0, 0.0, 0.0, 0.0]), "R@50": torch.ones(4)},
        "shirt.val": {"R@10": torch.tensor([1.0]), "R@50": torch.tensor([0.0])},
    }
    rows = summarize(protocol, parts)
    assert rows["dress.val"] == {"R@10": 0.25, "R@50": 1, "average": 0.625}
    assert rows["mean"] == {"R@10": 0.625, "R@50": 0.5, "average": 0.5625}
    assert list(summarize(protocol, {"dress.val": parts["dress.val"]})) == ["dress.val"]


def test_headlines():
    cirr = {f"R@{k}": torch.tensor([0.5]) for k in (1, 5, 10, 50)} | {"R_subset@1": torch.tensor([1.0])}
    assert summarize(PROTOCOLS["cirr"], {"val": cirr})["val"]["average"] == 0.75
    shoes = {"R@1": torch.tensor([0.0]), "R@10": torch.tensor([0.3]), "R@50": torch.tensor([0.6])}
    assert summarize(PROTOCOLS["shoes"], {"eval": shoes})["eval"]["average"] == pytest.approx(0.3)


def test_a_target_that_is_the_reference_is_missed():
    indices = RankingQueries.from_names(["a", "b"], references=["a"], targets=["a"], relevant=[["a"]])
    found = score_rankings(PROTOCOLS["shoes"], indices, [torch.tensor([[1.0, 0.0]])])
    assert found["R@50"].tolist() == [0]
    assert score_rankings(PROTOCOLS["fashioniq"], indices, [torch.tensor([[1.0, 0.0]])])["R@10"].tolist() == [1]


def test_queries_without_a_target():
    indices = RankingQueries.from_names(["a", "b"], references=["c", "a"], targets=[None, "b"], relevant=[[], ["b"]])
    found = score_rankings(PROTOCOLS["circo"], indices, [torch.tensor([[1.0, 0.0], [0.0, 1.0]])])
    for values in found.values():
        assert math.isnan(values[0])
        assert values[1] == 1
    assert summarize(PROTOCOLS["circo"], {"val": found})["val"]["mAP@5"] == 1


def test_what_does_not_fit():
    queries, similarity = random_queries(5, count=3)
    indices = indices_of(queries)
    with pytest.raises(InputError, match=r"similarities of 3 queries to 60 images do not fit torch.Size\(\[3, 59\]\)"):
        score_rankings(PROTOCOLS["shoes"], indices, [similarity[:, :59]])
    with pytest.raises(InputError, match="do not fit"):
        score_rankings(PROTOCOLS["shoes"], indices, [similarity, similarity])
    with pytest.raises(InputError, match="there are similarities of 2 queries, not of 3"):
        score_rankings(PROTOCOLS["shoes"], indices, [similarity[:2]])
    with pytest.raises(InputError, match="there are similarities of 0 queries, not of 3"):
        score_rankings(PROTOCOLS["shoes"], indices, [])
    with pytest.raises(InputError, match="CIRR: R_subset needs a group of images with every query"):
        score_rankings(PROTOCOLS["cirr"], replace(indices, group=[torch.tensor([])] * 3), [similarity])
    with pytest.raises(InputError, match="1 of 3 queries have NaN"):
        score_rankings(PROTOCOLS["shoes"], indices, [torch.cat([similarity[:2], similarity[2:] * math.nan])])
    base = {"references": ["a"], "targets": ["a"], "relevant": [["a"]]}
    with pytest.raises(InputError, match="target 'x' is not in the gallery of 1 images"):
        RankingQueries.from_names(["a"], **{**base, "targets": ["x"]})
    with pytest.raises(InputError, match="target 'y' is not in the gallery"):
        RankingQueries.from_names(["a"], **{**base, "relevant": [["y"]]})
    with pytest.raises(InputError, match="group member 'z' is not in the gallery"):
        RankingQueries.from_names(["a"], **base, groups=[["z"]])


def test_soft_targets_outside_the_gallery_cannot_be_found():
    indices = RankingQueries.from_names(
        ["a", "b"], references=["a"], targets=["b"], relevant=[["b"]], groups=[["a", "b"]], soft=[{"x": 1.0, "b": 0.5}]
    )
    assert indices.soft[0][0].tolist() == [1]
    assert score_rankings(replace(PROTOCOLS["cirr"], soft=True), indices, [torch.zeros(1, 2)])["R@50"].tolist() == [0.5]


def test_a_figure_that_is_added_is_scored_and_described(monkeypatch):
    def reciprocal(chunk, ks):
        rank = torch.arange(1, len(chunk.similarity) + 1).double()
        return torch.stack([torch.where(rank <= k, 1 / rank, 0.0) for k in ks], 1)

    monkeypatch.setitem(RANKING_FIGURES, "MRR", reciprocal)
    protocol = replace(PROTOCOLS["shoes"], cutoffs={"MRR": (2, 5), "R": (1,)}, averages={})
    queries, similarity = random_queries(6, count=3)
    found = score_rankings(protocol, indices_of(queries), [similarity])
    assert list(found) == ["MRR@2", "MRR@5", "R@1"]
    assert found["MRR@2"].tolist() == [1, 0.5, 0]
    assert summarize(protocol, {"eval": found})["eval"]["MRR@2"] == 0.5
    assert protocol.describe().startswith("Shoes: MRR@2,5, R@1; ")
