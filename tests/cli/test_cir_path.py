"""A benchmark from its files to the server: checked, given masks, trained on, evaluated, submitted."""

import json

from cir_miniatures import write_learnable_cirr

from mmgrad_explain.data.cir.formats import read_cir


def test_a_benchmark_from_its_files_to_the_server(run, tmp_path):
    root = write_learnable_cirr(tmp_path / "CIRR")
    assert run("data", "check", "cirr", root)[0] == 0
    code, out, _ = run("data", "masks", "cirr", root, "--masks", "segments", "--split", "train", "--split", "val")
    assert (code, out.splitlines()[0].partition(",")[0]) == (0, "96 of 96 captions have a mask")
    source = {"kind": "cir", "set": "cirr", "folder": str(root), "masks": ["segments"], "pictures": 8, "edits": 3}
    options = (
        "sources.scenes=", f"sources.cirr={json.dumps(source)}", "dense={weight: 0, first: 0}", "grounding.pooling=0",
        "retrieval={memory: 0, change: 0}", "optimizer.warmup=5", "steps=45", "tensorboard=false", "device=cpu",
        "evaluation={every: 45, batches: 1, maps: 0, best: cirr.val.r1}",
    )  # fmt: skip
    changes = [word for one in options for word in ("--set", one)]
    code, out, _ = run("train", "tiny", "--out", tmp_path / "run", "--json", *changes)
    assert code == 0
    assert json.loads(out)["figures"]["cirr.val.r1"] > 0.3  # of 16 images
    evaluate = ("evaluate", "--data", f"cirr:{root}", "--model", tmp_path / "run" / "model")
    assert run(*evaluate, "--split", "val", "--out", tmp_path / "f.json")[0] == 0
    assert json.loads((tmp_path / "f.json").read_text())["figures"]["model"]["val"]["R@1"] > 0.3
    assert run(*evaluate, "--split", "test1", "--submission", tmp_path)[0] == 0
    ranked = json.loads((tmp_path / "cirr_test1_recall.json").read_text())
    queries = read_cir("cirr", root, ["test1"]).queries["test1"]
    right = [ranked[query.id][0].endswith(query.captions[0].split()[-1]) for query in queries]
    assert sum(right) / len(right) > 0.5  # a quarter has the colour
