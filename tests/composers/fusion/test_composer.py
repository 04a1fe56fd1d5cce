"""The composer of a tower and a method: batches, texts, threads, folders, half precision."""

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small_towers", Path(__file__).with_name("small_towers.py"))
small_towers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_towers)
_SPEC = importlib.util.spec_from_file_location("equations", Path(__file__).with_name("equations.py"))
equations = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(equations)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_two_texts_a_batch_and_a_target(composer, picture, shared):
    """Two texts give two maps, a batch what its samples give alone, a target a map of its own that disturbs none."""
    turned = picture.rotate(180)
    pairs = list(zip([picture, turned, picture], [small_towers.TEXTS[0], *small_towers.TEXTS], strict=True))
    assert composer.default_score == "shift"
    composer.train()
    with shared.left_alone(composer):
        together = explain([one for one, _ in pairs], [text for _, text in pairs], [turned] * 3, composer)
        maps, of_targets = together.signed[composer.target_layer]
        top, top_of_targets = maps.abs().max(), of_targets.abs().max()
        assert (maps[0] - maps[2]).abs().max() > 0.003 * top
        for index, (one, text) in enumerate(pairs):
            alone = explain(one, text, model=composer).signed[composer.target_layer][0][0]
            torch.testing.assert_close(maps[index] / top, alone / top, atol=1e-3, rtol=1e-3)
            own = explain(turned, text, model=composer).signed[composer.target_layer][0][0] / top_of_targets
            torch.testing.assert_close(of_targets[index] / top_of_targets, own, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")
def test_many_texts_of_one_picture_are_one_encoding(composer, picture, monkeypatch):
    calls = []
    whole = composer.encode_image
    monkeypatch.setattr(composer, "encode_image", lambda pixels: calls.append(len(pixels)) or whole(pixels))
    together = explain(picture, small_towers.TEXTS, model=composer).signed[composer.target_layer][0]
    assert calls == [1]
    for index, text in enumerate(small_towers.TEXTS):
        alone = explain(picture, text, model=composer).signed[composer.target_layer][0][0]
        torch.testing.assert_close(together[index] / alone.abs().max(), alone / alone.abs().max(), atol=1e-3, rtol=1e-3)


def test_an_empty_text_changes_nothing(composer, method, picture, saved):
    prepared = composer.preprocess([picture] * 2, [" ", small_towers.TEXTS[0]], [picture] * 2)
    output = composer(**prepared.tensors)
    assert output.shift[0].abs().max() == 0
    assert output.shift[1].abs().max() > 0.01
    _, before, gallery, _ = equations.by_hand(
        method, composer, saved("clip")[1], prepared.tensors["pixel_values"], small_towers.TEXTS
    )
    torch.testing.assert_close(output.embedding[0], before[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.target[0], gallery[0], atol=1e-5, rtol=1e-4)
    if method != "inversion":  # which speaks of the picture in words
        torch.testing.assert_close(output.embedding[0], output.target[0], atol=1e-6, rtol=1e-5)


def test_words_are_explained(composer, method, picture):
    """Also those in a prompt, at their own places in it."""
    (words,) = explain(picture, small_towers.TEXTS[0], model=composer, words=True).words
    assert [word.text for word in words] == small_towers.TEXTS[0].split()
    first = 6 if method == "inversion" else 1  # <start> a photo of $ that
    assert [word.positions for word in words] == [(first,), (first + 1,), (first + 2,)]
    assert any(word.value for word in words)


@pytest.mark.parametrize("method", ["film", "inversion", "qformer"], indirect=True)
def test_threads_do_not_disturb_one_another(composer, picture):
    pictures = [picture.rotate(45 * turn) for turn in range(4)]
    alone = [explain(one, small_towers.TEXTS[turn % 2], model=composer).maps for turn, one in enumerate(pictures)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(explain, one, small_towers.TEXTS[turn % 2], model=composer) for turn, one in enumerate(pictures)
        ]
    for job, expected in zip(jobs, alone, strict=True):
        torch.testing.assert_close(job.result().maps, expected, atol=1e-6, rtol=1e-4)
    assert not any(module._forward_hooks for module in composer.modules())


# --------------------------------------------------------------------------------------------------------------- files


def test_saving(composer, method, inputs, tmp_path):
    composer.save_pretrained(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
    assert len({path.stat().st_mode for path in files}) == 1  # whoever reads one reads all
    read = load_composer(tmp_path / "model")
    assert isinstance(read, FusionComposer)
    assert (read.name, read.method, read.training) == ("model", method, False)
    assert read.target_layer == composer.target_layer
    for one, other in zip(read(**inputs), composer(**inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["film", "inversion"], indirect=True)
def test_on_the_command_line(composer, picture_file, tmp_path, capsys):
    composer.save_pretrained(tmp_path / "model")
    out = tmp_path / "where.png"
    command = ["overlay", str(picture_file), "make it red", "--model", str(tmp_path / "model"), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["score_name"], result["grid"]) == ("shift", [4, 4])
    assert Image.open(out).size[0] >= 60


@pytest.mark.parametrize("method", ["inversion"], indirect=True)
def test_another_prompt_is_saved(saved, method, picture, tmp_path):
    composer = small_towers.compose(saved("clip")[0], method, prompt="$ that {text}")
    assert composer.processor.word_index == 1
    ids, mask = composer.processor.encode_texts(["make it red", ""])
    assert ids[0].tolist() == [1, 3, 9, 2, 3, 4, 11]
    assert mask[1].sum() == 0
    assert composer.blank_ids.tolist() == [[1, 3, 11]]
    composer.save_pretrained(tmp_path)
    read = load_composer(tmp_path)
    assert read.processor.prompt == "$ that {text}"
    inputs = composer.preprocess([picture], small_towers.TEXTS[:1]).tensors
    torch.testing.assert_close(read(**inputs).embedding, composer(**inputs).embedding)
    torch.testing.assert_close(composer.processor.encode_texts(small_towers.TEXTS[:1])[0], inputs["input_ids"])


@pytest.mark.parametrize("method", ["tirg"], indirect=True)
def test_folders_that_are_none(composer, saved, tmp_path):
    with pytest.raises(InputError, match="holds a 'clip' model, not a 'mmgrad_fusion' one"):
        FusionComposer.from_pretrained(saved("clip")[0])
    composer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in ({"options": {"width": 25}}, {"sizes": {"embed": 3}}, {"options": None}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(InputError, match=r"the weights in .* do not fit its config.json"):
            FusionComposer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "method": "tierg"}))
    with pytest.raises(InputError, match=r"fusion: there is no 'tierg'; did you mean 'tirg'\?"):
        FusionComposer.from_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "tower")
    with pytest.raises(InputError, match=r"has no tower.config.json"):
        FusionComposer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        FusionComposer.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["align", "blip", "clip", "siglip"])
def test_arrays_become_what_the_towers_own_processor_makes_of_pictures(kind, saved):
    processor = small_towers.compose(saved(kind)[0], "tirg").processor
    size = processor.encode_images([Image.new("RGB", (64, 64))])[1][0].input
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    expected, _ = processor.encode_images([Image.fromarray(one) for one in pictures])
    torch.testing.assert_close(processor.normalise(pictures), expected, atol=1e-4, rtol=1e-4)


def test_half_precision(saved, picture, method):
    """Everything in bfloat16, as large models are kept."""
    composer = small_towers.compose(saved("clip")[0], method)
    inputs = composer.preprocess([picture], small_towers.TEXTS[:1]).tensors
    expected = composer(**inputs).shift
    composer.to(torch.bfloat16)
    found = composer(**{**inputs, "pixel_values": inputs["pixel_values"].bfloat16()}).shift
    assert found.dtype == torch.bfloat16
    assert torch.cosine_similarity(found.float(), expected).item() > 0.95
