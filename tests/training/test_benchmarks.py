"""Benchmarks that a run measures: their names, and their figures by the protocol."""

import pytest
from cir_miniatures import MINIATURES, draw_images

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir
from mmgrad_explain.evaluation.submission import has_server
from mmgrad_explain.training.benchmarks import WITH_SERVER, BenchmarkSets, benchmark_of, find_benchmarks
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.models import starting_composer
from mmgrad_explain.training.sources.cir import CirSourceOptions
from mmgrad_explain.training.sources.scenes import SceneSourceOptions


@pytest.fixture
def options(tmp_path):
    """Options of a source on a drawn miniature, by its format."""

    def make(name, split="train"):
        draw_images(name, MINIATURES[name](tmp_path / name))
        return CirSourceOptions(name, str(tmp_path / name), split, masks=("none",))

    return make


def test_figures_are_those_of_the_protocol(options, micro):
    sources = {"fiq": options("fashioniq"), "shoes": options("shoes")}
    benchmarks = find_benchmarks(sources, ["fiq.dev", "shoes.eval"])
    composer = starting_composer(micro().model, ("is", "red"))
    found = BenchmarkSets(benchmarks).measure(composer)
    assert list(found) == [figure for benchmark in benchmarks for figure in benchmark.figures()]
    assert list(found)[:3] == ["fiq.dev.r10", "fiq.dev.r50", "fiq.dev.average"]
    assert composer.training
    expected = evaluate_cir(composer, read_cir("shoes", sources["shoes"].folder, ["eval"])).figures["model"]["eval"]
    assert found["shoes.eval.r1"] == expected["R@1"]
    assert found["fiq.dev.r10"] == 1.0  # of five images
    assert benchmark_of("fiq.dev.r10") == "fiq.dev"
    assert benchmark_of("pointing") == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scenes.val", r"there is no source 'scenes' of kind cir: .*name SOURCE\.SPLIT of cirr"),
        ("cir.val", "there is no source 'cir' of kind cir: did you mean 'cirr'"),
        ("cirr.train", "cirr has no split 'train' to be held out: use val, test1$"),
        ("cirr.eval", "cirr has no split 'eval' to be held out"),
        ("mine.train", "jsonl has no split 'train' to be held out: use another one than that which is trained on"),
    ],
)
def test_benchmarks_that_are_not_there_are_refused(name, message):
    sources = {"scenes": SceneSourceOptions(), "cirr": CirSourceOptions("cirr"), "mine": CirSourceOptions("jsonl")}
    with pytest.raises(InputError, match=message):
        find_benchmarks(sources, [name])


def test_what_cannot_be_measured_is_said_before_the_run(options):
    source = options("cirr")
    with pytest.raises(InputError, match=r"benchmark 'c\.test1': its targets are not public"):
        BenchmarkSets(find_benchmarks({"c": source}, ["c.test1"]))


def test_the_best_figure_may_be_of_a_benchmark():
    sources = {"cirr": {"kind": "cir", "set": "cirr", "masks": "segments"}}
    values = {"sources": sources, "evaluation": {"best": "cirr.val.r_subset1"}}
    assert [one.name for one in config_from(values).benchmarks] == ["cirr.val"]
    values["evaluation"]["benchmarks"] = ["cirr.val"]
    assert [one.name for one in config_from(values).benchmarks] == ["cirr.val"]
    with pytest.raises(InputError, match=r"best: there is no figure 'cirr\.val\.r7': .* cirr\.val\.average"):
        config_from({"sources": sources, "evaluation": {"best": "cirr.val.r7"}})
    with pytest.raises(InputError, match="no source 'fiq' of kind cir"):
        config_from({"sources": sources, "evaluation": {"best": "fiq.val.r10"}})


def test_submissions_go_to_a_server():
    assert all(map(has_server, WITH_SERVER))
    assert [name for name in MINIATURES if has_server(name)] == [name for name in MINIATURES if name in WITH_SERVER]
    sources = {"shoes": {"kind": "cir", "set": "shoes", "masks": "segments"}}
    with pytest.raises(InputError, match=r"submissions: no server takes 'shoes.eval': only cirr and circo have one"):
        config_from({"sources": sources, "evaluation": {"submissions": ["shoes.eval"]}})
