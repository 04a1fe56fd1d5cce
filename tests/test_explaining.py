"""Pictures and words in, maps out."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import InputError, MMGradWarning, explain, load_composer
from mmgrad_explain.composers.familiarity import describe, fit, grids_seen
from mmgrad_explain.explaining import usable_device

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def test_one_picture_one_text(picture, tiny):
    explanation = explain(picture, "make it blue", model=tiny)
    assert explanation.maps.shape == (1, 8, 8)
    assert explanation.maps.dtype == torch.float32
    assert explanation.texts == ("make it blue",)
    assert explanation.score_name == "shift"
    assert explanation.layer_names == ("network.features",)
    assert explanation.model == tiny.name
    assert explanation.heatmap().shape == (40, 60)
    assert len(explanation.calls) == 1


def test_equals_the_formula(picture, tiny):
    """Grad-CAM of <d, sg(d)> at the features, written out."""
    tensors = tiny.preprocess([picture], ["make the square blue"]).tensors
    network = tiny.network
    mask = tensors["attention_mask"].bool()
    features = network.encode_image(tensors["pixel_values"]).detach().requires_grad_()
    shift = network.shift(features, *network.text(tensors["input_ids"], mask), mask)
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), features)
    expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
    explanation = explain(picture, "make the square blue", model=tiny)
    torch.testing.assert_close(explanation.maps, expected)
    torch.testing.assert_close(explanation.score, shift.square().sum(1).detach())


def test_with_a_target_both_get_a_map(picture, tiny):
    alone = explain(picture, "make it blue", model=tiny)
    both = explain(picture, "make it blue", target=picture.rotate(180), model=tiny)
    assert len(both.calls) == 2
    torch.testing.assert_close(both.maps, alone.maps)
    turned = explain(picture.rotate(180), "make it blue", model=tiny)
    torch.testing.assert_close(both.calls[1], turned.maps)
    assert both.heatmap(target=True).shape == (40, 60)


@pytest.mark.parametrize("score", ["similarity", "pair", "pair-different"])
def test_scores_that_compare(picture, tiny, score):
    target = picture.rotate(90, expand=True)
    explanation = explain(picture, "make it blue", target=target, model=tiny, score=score)
    assert explanation.score_name == score
    assert [bool(one.abs().sum() > 0) for one in (explanation.signed["network.features"])] == [True, True]
    with pytest.raises(InputError, match="target"):
        explain(picture, "make it blue", model=tiny, score=score)


def test_several_pictures_texts_and_targets(picture, tiny):
    other = picture.resize((30, 50))
    three = explain([picture, other, picture], ["make it blue", "remove it", "make it small"], model=tiny)
    for index, (image, text) in enumerate(zip(three.images, three.texts, strict=True)):
        single = explain(image, text, model=tiny)
        torch.testing.assert_close(three.maps[index], single.maps[0], rtol=1e-4, atol=1e-7)
    assert three.heatmap(1).shape == (50, 30)
    texts = explain(picture, ["make it blue", "remove it"], model=tiny)
    assert len(texts) == 2
    assert not torch.equal(texts.maps[0], texts.maps[1])
    assert len(explain([picture, other], "remove it", model=tiny)) == 2


def test_counts_that_do_not_go_together(picture, tiny):
    with pytest.raises(InputError, match="2 images for 3 samples: give one for all, or one each"):
        explain([picture] * 2, ["a", "b", "c"], model=tiny)
    with pytest.raises(InputError, match="2 targets for 1 samples"):
        explain(picture, "remove it", target=[picture] * 2, model=tiny)


@pytest.mark.parametrize("text", ["", "  ", [], ["make it red", " "]])
def test_empty_texts(picture, tiny, text):
    with pytest.raises(InputError, match=r"text is (empty|an empty list)"):
        explain(picture, text, model=tiny)


def test_wrong_types(picture, tiny):
    with pytest.raises(TypeError, match="text must be a string or a list of strings, got int"):
        explain(picture, [3], model=tiny)
    with pytest.raises(InputError, match="image is an empty list"):
        explain([], "make it red", model=tiny)


def test_notices_become_notes(picture, tiny):
    assert "does not know 'dress'" in " ".join(explain(picture, "make the dress red", model=tiny).notes)


def test_a_text_the_model_knows_nothing_of_is_said_and_gives_no_map(picture, tiny):
    with pytest.warns(MMGradWarning, match="flat"):
        explanation = explain(picture, "abracadabra", model=tiny)
    assert explanation.flat.tolist() == [True]
    assert explanation.heatmap().max() == 0


def test_words_have_values(picture, tiny):
    """Those of the formula, under their names; a word the model does not know is left out."""
    text = "make the dress Blue"
    assert explain(picture, text, model=tiny).words is None
    both = explain(picture, [text, "remove it"], model=tiny, words=True)
    assert [[word.text for word in words] for words in both.words] == [["make", "the", "Blue"], ["remove", "it"]]
    tensors = tiny.preprocess([picture], [text]).tensors
    network = tiny.network
    embedding = network.text.words(tensors["input_ids"]).detach().requires_grad_()
    network.text.words.forward = lambda _: embedding
    shift = network(**tensors).shift
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), embedding)
    expected = (gradient * embedding).sum(-1)[0].tolist()
    assert [word.value for word in both.words[0]] == pytest.approx(expected, rel=1e-3)
    assert max(abs(word.scaled) for word in both.words[0]) == 1
    wide, plain = both.overlay(words=True), both.overlay()
    assert wide.width == plain.width
    assert wide.height > plain.height
    with pytest.raises(InputError, match="words: the explanation has none; ask for them with words=True"):
        explain(picture, text, model=tiny).overlay(words=True)


def test_words_need_a_tokenizer(picture, tiny):
    class Silent(type(tiny)):
        tokenizer = None

        def preprocess(self, *args):
            return tiny.preprocess(*args)

    silent = Silent(tiny.network, None)
    with pytest.raises(InputError, match=r"words: Silent has no processor\.tokenizer"):
        explain(picture, "make it red", model=silent, words=True)


def test_other_layers_and_weightings(picture, tiny):
    several = explain(
        picture, "remove it", model=tiny, layer=["network.visual.layer2", "network.features"], weighting="hirescam"
    )
    assert several.layer_names == ("network.visual.layer2", "network.features")
    assert several.weighting == "hirescam"
    with pytest.raises(InputError, match=r"network\.features"):
        explain(picture, "remove it", model=tiny, layer="network.feature")
    with pytest.raises(InputError, match="gradcam"):
        explain(picture, "remove it", model=tiny, weighting="gradcan")


def test_the_composer_comes_back_as_it_was(picture, tiny):
    tiny.train()
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    state = torch.get_rng_state()
    explain(picture, "remove it", model=tiny)
    assert all(module.training for module in tiny.modules())
    assert all(p.requires_grad and p.grad is None for p in tiny.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:99", r"device 'cuda:99' is not there: \d+ CUDA devices found; use cpu"),
        ("gpu", "unknown"),
        ("meta", "not supported"),
    ],
)
def test_devices_that_are_not_there(picture, tiny, device, message):
    with pytest.raises(InputError, match=message):
        explain(picture, "remove it", model=tiny, device=device)


def test_cpu_is_always_there(picture, tiny):
    assert usable_device("cpu") == torch.device("cpu")
    assert explain(picture, "remove it", model=tiny, device="cpu").maps.device.type == "cpu"


@pytest.mark.parametrize("size", [(96, 96), (400, 100), (90, 310), (31, 17), (640, 480)])
def test_the_map_lies_on_the_picture(size):
    """A bright object in an empty picture is found by the shipped model where it is."""
    composer = load_composer("reference")
    width, height = size
    side = max(6, min(size) // 4)
    left, top = int(width * 0.65), int(height * 0.2)
    pixels = np.full((height, width, 3), 120, dtype=np.uint8)
    pixels[top : top + side, left : left + side] = (220, 30, 30)
    explanation = explain(Image.fromarray(pixels), "make the red square blue", model=composer)
    y, x = explanation.peak()
    slack = max(size) / 24
    assert top - slack <= y <= top + side + slack
    assert left - slack <= x <= left + side + slack


def test_loads_by_name_and_folder(picture_file, tiny_folder):
    assert explain(str(picture_file), "make it blue").model == "reference"
    assert explain(picture_file, "make it blue", model=tiny_folder).maps.shape == (1, 8, 8)


def test_without_a_model_the_words_choose(picture):
    assert explain(picture, "make the coat red").model == "clothing"
    assert explain(picture, "make the square red").model == "reference"


def test_a_picture_unlike_the_training_data_is_noted(tiny_folder, tmp_path, picture):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    composer = load_composer(folder)
    with grids_seen(composer) as grids:
        composer(**composer.preprocess([picture], ["make it red"]).tensors)
    near = describe(grids[0]) + 1e-3 * torch.randn(200, describe(grids[0]).shape[1])
    fit({"squares": (near[:100], near[100:])}, "one red square", "take another").save(folder)
    assert not explain(picture, "make it red", model=folder).notes
    (note,) = explain(np.zeros((40, 60, 3), np.uint8), "make it red", model=folder).notes[-1:]
    assert (
        note
        == "the picture is unlike what the model was trained on (one red square): do not trust the map; take another"
    )
