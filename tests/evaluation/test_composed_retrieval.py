"""A composer on a benchmark: against embeddings taken one at a time, and ranked by hand."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer, ComposerInputs
from mmgrad_explain.composers.outputs import TwoTowerOutput
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.composed_retrieval import QUERY_KINDS, evaluate_cir
from mmgrad_explain.evaluation.submission import submission_files
from mmgrad_explain.notes import Note

TEXTS = ["make the star red", "remove the small circle", "make the ring bigger", "make it blue"]


def picture(seed, size=(12, 12)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def save(path, seed, size=(12, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size).save(path)


@pytest.fixture
def triplets(tmp_path):
    """Eight pictures, nine queries; two targets of one of them; one reference twice."""
    for i in range(8):
        save(tmp_path / f"{i}.png", i)
    records = [
        {"reference": f"{i % 7}.png", "text": TEXTS[i % 4], "target": f"{(3 * i + 1) % 8}.png"} for i in range(8)
    ]
    records.append({"reference": "7.png", "text": TEXTS[0], "targets": ["2.png", "5.png"]})
    (tmp_path / "triplets.jsonl").write_text("\n".join(map(json.dumps, records)))
    return read_cir("jsonl", tmp_path)


def cirr_set(root, split="val", prefix="dev", *, judged=True):
    """CIRR with 60 pictures, so that there are 50 to submit."""
    names = [f"{prefix}-{i}-0-img0" for i in range(60)]
    for i, name in enumerate(names):
        save(root / prefix / f"{name}.png", i)
    entries = []
    for number in range(3):
        members = names[6 * number : 6 * number + 6]
        entry = {
            "pairid": 100 + number,
            "reference": members[0],
            "caption": TEXTS[number],
            "img_set": {"members": members},
        }
        if judged:
            entry |= {"target_hard": members[1], "target_soft": {members[1]: 1.0, members[2]: 0.5}}
        entries.append(entry)
    for folder, content in (
        ("captions/cap", entries), ("image_splits/split", {name: f"./{prefix}/{name}.png" for name in names})
    ):  # fmt: skip
        path = root / "cirr" / f"{folder}.rc2.{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return read_cir("cirr", root, [split])


def unit(rows):
    return F.normalize(torch.cat(rows).double(), dim=-1)


def one_at_a_time(composer, data, part):
    """Gallery and queries by method, each picture and query in a forward of its own, as target and as reference."""

    def run(image, text, target=None):
        inputs = composer.preprocess([image], [text], None if target is None else [target])
        with torch.no_grad():
            return composer(**inputs.tensors)

    def load(name):
        return Image.open(data.images.path(name)).convert("RGB")

    grey = Image.new("RGB", (64, 64), (127, 127, 127))
    queries = data.queries[part]
    own = {name: run(load(name), "make it red", load(name)).target for name in data.images.paths}
    outputs = [run(load(query.reference), query.text) for query in queries]
    words = [output.text for output in outputs if hasattr(output, "text")]
    return (
        unit([own[name] for name in data.images.galleries[part]]),
        {
            "model": unit([output.embedding for output in outputs]),
            "image only": unit([own[query.reference] for query in queries]),
            "text only": unit(words or [run(grey, query.text).embedding for query in queries]),
        },
    )


def recalls(data, part, gallery, queries, ks):
    """Recall@K of any right answer with the reference removed, by sorting."""
    names = data.images.galleries[part]
    found = dict.fromkeys(ks, 0.0)
    for query, row in zip(data.queries[part], (queries @ gallery.T).tolist(), strict=True):
        order = sorted((n for n in names if n != query.reference), key=lambda n: -row[names.index(n)])
        for k in ks:
            found[k] += bool(set(query.relevant) & set(order[:k])) / len(data.queries[part])
    return found


class Towers(Composer):
    """Two linear towers; says what it is asked, and whether it is in evaluation mode."""

    name = "towers"

    def __init__(self, *, output="towers", one_shape=False):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(3 * 4 * 4, 6), nn.EmbeddingBag(128, 6)
        self.drop = nn.Dropout(0.5)
        self.output, self.one_shape = output, one_shape
        self.batches, self.modes = [], set()

    def preprocess(self, images, texts, targets=None):
        if self.one_shape and len({image.size for image in images}) > 1:
            raise InputError("the images have different sizes for this model")
        ids = torch.tensor([[ord(c) for c in text.ljust(40)] for text in texts])

        def pixels(some):
            return torch.stack(
                [
                    torch.tensor(np.asarray(i.resize((4, 4), Image.Resampling.NEAREST))).float().flatten() / 255
                    for i in some
                ]
            )

        tensors = {"pixel_values": pixels(images), "input_ids": ids}
        if targets is not None:
            tensors["target_pixel_values"] = pixels(targets)
        return ComposerInputs(
            tensors, [], notices=[Note("caution", f"{text!r} is odd") for text in texts if "ring" in text]
        )

    def forward(self, pixel_values, input_ids, target_pixel_values=None):
        self.batches.append(len(pixel_values))
        self.modes.add(self.training)
        image, text = self.drop(F.normalize(self.image(pixel_values))), F.normalize(self.text(input_ids))
        target = None if target_pixel_values is None else F.normalize(self.image(target_pixel_values))
        if self.output == "towers":
            return TwoTowerOutput(image + text, text, target, None, None, image, text)
        if self.output == "target":
            return SimpleNamespace(embedding=image + text, target=target)
        return SimpleNamespace(answer=image)


@pytest.mark.parametrize("kind", ["reference", "towers", "target"])
def test_figures_are_those_of_single_embeddings(triplets, tiny, kind):
    composer = tiny if kind == "reference" else Towers(output=kind).eval()
    found = evaluate_cir(composer, triplets, batch=3)
    gallery, queries = one_at_a_time(composer, triplets, "all")
    assert list(found.figures) == list(QUERY_KINDS)
    for method in QUERY_KINDS:
        slow = recalls(triplets, "all", gallery, queries[method], (1, 5, 10, 50))
        assert found.figures[method]["all"] == pytest.approx({f"R@{k}": value for k, value in slow.items()})
    assert len({json.dumps(found.figures[method]) for method in QUERY_KINDS}) > 1
    assert found.counts == {"all": {"queries": 9, "with target": 9, "gallery": 8}}
    assert found.protocol.startswith("triplets: R@1,5,10,50; recall of any right answer; gallery: all images")


def test_the_model_comes_back_as_it_was(triplets):
    composer = Towers().train()
    before = {name: value.clone() for name, value in composer.state_dict().items()}
    torch.manual_seed(3)
    evaluate_cir(composer, triplets)
    assert composer.training
    assert composer.modes == {False}  # dropout would have drawn
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(3)))
    for name, value in composer.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None and parameter.requires_grad for parameter in composer.parameters())


def test_each_image_is_embedded_once_and_progress_is_reported(triplets):
    composer, seen = Towers().eval(), []
    found = evaluate_cir(composer, triplets, batch=4, progress=lambda *what: seen.append(what))
    assert composer.batches == [4, 4, 4, 4, 1]
    assert seen == [
        ("images", 4, 8), ("images", 8, 8),
        ("queries of all", 4, 9), ("queries of all", 8, 9), ("queries of all", 9, 9),
    ]  # fmt: skip
    assert found.notices == ["'make the ring bigger' is odd"]


def test_the_baselines_can_be_left_out(triplets):
    composer = Towers()
    found = evaluate_cir(composer, triplets, baselines=False).figures
    assert found == {"model": evaluate_cir(Towers(), triplets).figures["model"]}
    assert composer.batches == [8, 9]


def test_models_that_keep_shapes_get_images_one_at_a_time(triplets):
    save(triplets.root / "3.png", 3, (12, 20))
    whole = evaluate_cir(Towers().eval(), triplets)
    apart = Towers(one_shape=True).eval()
    assert evaluate_cir(apart, triplets, batch=4).figures == whole.figures
    assert 1 in apart.batches
    assert 4 in apart.batches

    class Never(Towers):
        def preprocess(self, images, texts, targets=None):
            raise InputError("this picture is too small")

    for batch in (1, 4):
        with pytest.raises(InputError, match="this picture is too small"):
            evaluate_cir(Never().eval(), triplets, batch=batch)


def test_a_query_without_words(triplets, tiny):
    lines = (triplets.root / "triplets.jsonl").read_text().splitlines()
    lines.append(json.dumps({"reference": "1.png", "text": " ", "target": "2.png"}))
    (triplets.root / "triplets.jsonl").write_text("\n".join(lines))
    found = evaluate_cir(tiny, read_cir("jsonl", triplets.root))
    assert found.counts["all"]["queries"] == 10
    assert all(not math.isnan(value) for value in found.figures["model"]["all"].values())


def test_cirr_and_its_submission(tmp_path):
    data = cirr_set(tmp_path)
    composer = Towers().eval()
    found = evaluate_cir(composer, data, submit=True)
    gallery, queries = one_at_a_time(composer, data, "val")
    names = data.images.galleries["val"]
    figures = found.figures["model"]["val"]
    assert list(figures)[-1] == "average"
    assert list(found.submissions) == submission_files(data) == ["cirr_val_recall.json", "cirr_val_recall_subset.json"]
    whole, subset = found.submissions.values()
    assert (whole["metric"], subset["metric"]) == ("recall", "recall_subset")
    hits = {"R@1": 0, "R_subset@1": 0}
    for query, row in zip(data.queries["val"], (queries["model"] @ gallery.T).tolist(), strict=True):
        order = sorted((n for n in names if n != query.reference), key=lambda n: -row[names.index(n)])
        assert whole[query.id] == order[:50]
        assert subset[query.id] == [n for n in order if n in query.group][:3]
        hits["R@1"] += order[0] == query.target
        hits["R_subset@1"] += subset[query.id][0] == query.target
    for name, count in hits.items():
        assert figures[name] == pytest.approx(count / 3)
    soft = evaluate_cir(composer, data, soft=True)
    assert "soft targets" in soft.protocol
    assert soft.figures["model"]["val"]["R@50"] >= figures["R@50"]
    small = evaluate_cir(composer, data, gallery="queries")
    assert small.counts["val"]["gallery"] == 18
    assert "references and targets" in small.protocol


def test_categories_are_ranked_separately(tmp_path):
    """FashionIQ: three galleries with pictures in common, and the mean that papers give."""
    for i in range(30):
        save(tmp_path / "images" / f"B{i}.png", i)
    for number, category in enumerate(("dress", "shirt", "toptee")):
        asins = [f"B{i}" for i in range(8 * number, 8 * number + 14)]
        entries = [
            {"candidate": asins[i], "target": asins[i + 1], "captions": ["is red.", TEXTS[i % 4]]}
            for i in range(2 + number)
        ]
        for kind, content in (("captions/cap", entries), ("image_splits/split", asins)):
            path = tmp_path / f"{kind}.{category}.val.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
    data, composer = read_cir("fashioniq", tmp_path, ["val"]), Towers().eval()
    found = evaluate_cir(composer, data, batch=7)
    parts = found.figures["model"]
    assert list(parts) == ["dress.val", "shirt.val", "toptee.val", "mean"]
    for part in data.queries:
        gallery, queries = one_at_a_time(composer, data, part)
        names, hits = data.images.galleries[part], 0
        for query, row in zip(data.queries[part], (queries["model"] @ gallery.T).tolist(), strict=True):
            hits += query.target in sorted(names, key=lambda n, row=row, names=names: -row[names.index(n)])[:10]
        assert parts[part]["R@10"] == pytest.approx(hits / len(data.queries[part]))
        assert found.counts[part]["gallery"] == 14
    assert parts["mean"]["R@10"] == pytest.approx(sum(parts[part]["R@10"] for part in data.queries) / 3)
    assert sum(composer.batches[:4]) + composer.batches[4] == 30  # a picture of two galleries is embedded once


def test_a_split_whose_targets_are_kept(tmp_path):
    data = cirr_set(tmp_path, "test1", "test1", judged=False)
    with pytest.raises(InputError, match="the targets of this split are not public: make a submission"):
        evaluate_cir(Towers().eval(), data)
    found = evaluate_cir(Towers().eval(), data, submit=True)
    assert all(math.isnan(value) for value in found.figures["model"]["test1"].values())
    assert len(found.submissions["cirr_test1_recall.json"]) == 2 + 3


def test_circo(tmp_path):
    images = list(range(100, 160))
    coco = tmp_path / "COCO2017_unlabeled"
    for i in images:
        save(coco / "unlabeled2017" / f"{i:012d}.jpg", i)
    entries = [
        {
            "id": number, "reference_img_id": images[number], "relative_caption": TEXTS[number],
            "target_img_id": images[number + 1], "gt_img_ids": [images[number + 1], images[number + 9]],
            "semantic_aspects": ["negation", "addition"][: number + 1],
        }
        for number in range(2)
    ]  # fmt: skip
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(entries))
    (coco / "annotations").mkdir()
    listing = {"images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in images]}
    (coco / "annotations" / "image_info_unlabeled2017.json").write_text(json.dumps(listing))
    found = evaluate_cir(Towers().eval(), read_cir("circo", tmp_path, ["val"]), submit=True)
    assert list(found.aspects) == ["addition", "negation"]
    assert found.aspects["negation"] == pytest.approx(found.figures["model"]["val"]["mAP@10"])
    answers = found.submissions["circo_val.json"]
    assert list(answers) == ["0", "1"]
    assert all(len(row) == 50 and all(isinstance(image, int) for image in row) for row in answers.values())


def test_groups_of_ones_own(triplets):
    lines = [json.loads(line) for line in (triplets.root / "triplets.jsonl").read_text().splitlines()]
    for line in lines:
        line["group"] = [line["reference"], "1.png", *line.get("targets", [line.get("target")])]
    lines[0] |= {"target": "0.png", "group": ["0.png", "1.png"]}
    (triplets.root / "triplets.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = evaluate_cir(Towers().eval(), read_cir("jsonl", triplets.root))
    assert found.figures["model"]["all"]["R_subset@3"] == 8 / 9  # one target is its own reference


def test_what_cannot_be_evaluated(triplets):
    with pytest.raises(InputError, match="model 'towers' gives no embedding of an image alone"):
        evaluate_cir(Towers(output="answer").eval(), triplets)
    with pytest.raises(InputError, match="jsonl has no server: a submission can be made for cirr and circo"):
        evaluate_cir(Towers().eval(), triplets, submit=True)
    with pytest.raises(InputError, match="a submission needs the original gallery"):
        evaluate_cir(Towers().eval(), triplets, submit=True, gallery="queries")
    (triplets.root / "2.png").write_text("no picture")
    with pytest.raises(InputError, match=r"2\.png"):
        evaluate_cir(Towers().eval(), triplets)
    (triplets.root / "2.png").unlink()
    with pytest.raises(InputError, match=r"jsonl in .* cannot be evaluated: all: 1 x image missing"):
        evaluate_cir(Towers().eval(), read_cir("jsonl", triplets.root))


def test_an_empty_part_is_named(tmp_path):
    """Of a training split nothing is needed, so that only the evaluation can say so."""
    cirr_set(tmp_path, "train", "train")
    file = tmp_path / "cirr" / "captions" / "cap.rc2.train.json"
    entries = file.read_text()
    file.write_text("[]")
    with pytest.raises(InputError, match=r"^train has no query: take another split or category, or fetch its files"):
        evaluate_cir(Towers(), read_cir("cirr", tmp_path, ["train"]))
    file.write_text(entries)
    (tmp_path / "cirr" / "image_splits" / "split.rc2.train.json").write_text("{}")
    with pytest.raises(InputError, match=r"^train has a gallery without an image: take another split"):
        evaluate_cir(Towers(), read_cir("cirr", tmp_path, ["train"]))
