"""Pictures and words in, maps out."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import InputError, MMGrad, MMGradWarning, explain, load_composer, phrase_maps
from mmgrad_explain._system.devices import check_device
from mmgrad_explain.attention.calls import many_texts
from mmgrad_explain.composers.familiar_images import describe_images
from mmgrad_explain.composers.familiarity import fit_familiarity
from mmgrad_explain.data.scenes.scene import scenes

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


@pytest.fixture
def clip():
    """A random CLIP of two layers with a combiner and a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel

    from mmgrad_explain.composers.clip.composer import ClipComposer, Combiner, CombinerConfig
    from mmgrad_explain.composers.clip.processor import ClipProcessor

    words = ["<unk>", "<start>", "<end>", "make", "it", "red", "blue"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, **ids, "vocab_size": len(words), "max_position_embeddings": 8},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    )
    processor = ClipProcessor(tokenizer, image_size=32, max_words=8, pad=2, end=2)
    return ClipComposer(model, processor, Combiner(CombinerConfig(embed_dim=16, width=16))).eval()


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
    shift = network.change(features, *network.text(tensors["input_ids"], mask), mask)
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


def test_several_pictures_texts_and_targets(picture, tiny, same_maps):
    other = picture.resize((30, 50))
    three = explain([picture, other, picture], ["make it blue", "remove it", "make it small"], model=tiny)
    for index, (image, text) in enumerate(zip(three.images, three.texts, strict=True)):
        single = explain(image, text, model=tiny)
        same_maps(three.maps[index : index + 1], single.maps)
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
    assert "does not know 'dress'" in explain(picture, "make the dress red", model=tiny).notes[0].text


def test_a_text_the_model_knows_nothing_of_is_said_and_gives_no_map(picture, tiny):
    with pytest.warns(MMGradWarning, match="flat"):
        explanation = explain(picture, "abracadabra", model=tiny)
    assert explanation.flat.tolist() == [True]
    assert explanation.heatmap().max() == 0


def test_words_have_values(picture, tiny):
    """What is lost without each of them, under their names; a word the model does not know has none."""
    text = "make the dress Blue"
    assert explain(picture, text, model=tiny).words is None
    both = explain(picture, [text, "remove it"], model=tiny, words=True)
    assert [[word.text for word in words] for words in both.words] == [["make", "the", "Blue"], ["remove", "it"]]
    whole, *shorter = (
        shift_of(tiny, picture, t) for t in (text, "the dress Blue", "make dress Blue", "make the dress")
    )
    expected = [float((whole - other) @ whole) for other in shorter]
    assert [word.value for word in both.words[0]] == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert both.words_by == ("leave-one-out",) * 2
    assert max(abs(word.scaled) for word in both.words[0]) == 1
    wide, plain = both.overlay(words=True), both.overlay()
    assert wide.width == plain.width
    assert wide.height > plain.height
    with pytest.raises(InputError, match="words: the explanation has none; ask for them with words=True"):
        explain(picture, text, model=tiny).overlay(words=True)


@torch.no_grad()
def shift_of(model, picture, text):
    return model(**model.preprocess([picture], [text]).tensors).shift[0]


def test_words_by_the_gradient(picture, tiny):
    text = "make the dress Blue"
    found = explain(picture, text, model=tiny, words="gradient")
    tensors = tiny.preprocess([picture], [text]).tensors
    network = tiny.network
    embedding = network.text.words(tensors["input_ids"]).detach().requires_grad_()
    network.text.words.forward = lambda _: embedding
    shift = network(**tensors).shift
    (gradient,) = torch.autograd.grad((shift * shift.detach()).sum(), embedding)
    expected = (gradient * embedding).sum(-1)[0].tolist()
    assert [word.value for word in found.words[0]] == pytest.approx(expected, rel=1e-3)
    assert found.words_by == ("gradient",)
    with pytest.raises(InputError, match="words: there is no 'gradients'"):
        explain(picture, text, model=tiny, words="gradients")


def test_long_texts_have_values_by_the_gradient_and_say_so(picture, tiny, monkeypatch):
    monkeypatch.setattr("mmgrad_explain.attention.word_values.measure.MOST_LEFT_OUT", 3)
    long = "make the large square blue"
    both = explain(picture, [long, "make it blue"], model=tiny, words=True)
    assert both.words_by == ("gradient", "leave-one-out")
    (note,) = [note for note in both.notes if note.kind == "word-values"]
    assert note.samples == (0,)
    assert "the text has 5 words, and up to 3 are left out" in note.text
    named = explain(picture, long, model=tiny, words="leave-one-out")
    assert named.words_by == ("leave-one-out",)
    assert not [note for note in named.notes if note.kind == "word-values"]


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
    assert several.method == "hirescam"
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
    assert check_device("cpu") == torch.device("cpu")
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


def test_without_a_model_words_and_picture_choose():
    (scene,) = scenes(22, 1)
    found = explain(scene.reference, "make it red")
    assert (found.model, found.model_choice) == ("reference", "the image is like its training images")
    assert found.manifest()["model_choice"] == found.model_choice
    assert "model reference (chosen because the image is like its training images), " in found._repr_html_()
    by_words = explain(scene.reference, "make the coat red")
    said = "it alone knows 'coat'; but the image is unlike its training images"
    assert (by_words.model, by_words.model_choice) == ("clothing", said)
    assert "unfamiliar-image" in [note.kind for note in by_words.notes]
    assert explain(scene.reference, "make the coat red", model="clothing").model_choice == ""


def test_a_thing_that_the_picture_does_not_show_is_noted_for_its_texts_alone(picture):
    texts = ["make the dog brown", "make it red", "remove the car"]
    found = explain(picture, texts, model="everyday")
    absent, nothing = (note for note in found.notes if note.kind == "absent-thing")
    assert (absent.samples, nothing.samples) == ((0, 2), (1,))
    assert "does not find in the image what the text names" in absent.text
    assert "reads in the text no thing that it knows" in nothing.text
    assert found.texts == tuple(texts)


def test_a_picture_unlike_the_training_data_is_noted(tiny_folder, tmp_path, picture):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    composer = load_composer(folder)
    near = describe_images(composer, [picture], composer.described_layers)
    near = near + 1e-2 * torch.randn(200, near.shape[1])
    words = composer.described_layers, "one red square", "take another"
    fit_familiarity({"squares": (near[:100], near[100:])}, *words).save(folder)
    assert not explain(picture, "make it red", model=folder).notes
    (note,) = explain(np.zeros((40, 60, 3), np.uint8), "make it red", model=folder).notes[-1:]
    assert (
        note.text
        == "the image is unlike what the model was trained on (one red square): do not trust the map; take another"
    )


@pytest.mark.parametrize("layer", [None, "network.visual.layer2"])
def test_one_picture_and_many_texts_is_encoded_once(picture, tiny, layer, same_maps):
    """And gives what each text gives alone, words, notes and placements included."""
    texts = ["make it blue", "remove the dress", "make the large square left of it small", "make it blue"]
    singles = [explain(picture, text, model=tiny, layer=layer, words=True) for text in texts]
    sizes = []
    tiny.network.visual.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    together = explain(picture, texts, model=tiny, layer=layer, words=True)
    assert sizes == [1]
    assert together.texts == tuple(texts)
    assert together.model == tiny.name
    assert [note.text for note in together.notes] == [note.text for note in singles[1].notes]
    assert [note.samples for note in together.notes] == [(1,), (1,)]  # a word, and that it was what is meant
    for index, single in enumerate(singles):
        same_maps(together.maps[index : index + 1], single.maps)
        torch.testing.assert_close(together.score[index], single.score[0])
        np.testing.assert_allclose(together.heatmap(index), single.heatmap(), atol=1e-4)
        ours, theirs = ({w.text: w.value for w in one} for one in (together.words[index], single.words[0]))
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_a_composer_that_reads_words_says_them_itself(picture, clip, same_maps):
    """``mmgrad.texts`` with pictures and strings, on a composer in stages."""
    texts = ["make it red", "make it blue"]
    found = MMGrad(clip).texts(picture, texts)
    quick = explain(picture, texts, model=clip, words=True)
    assert found.texts == quick.texts
    assert [[word.text for word in words] for words in quick.words] == [text.split() for text in texts]
    for index, text in enumerate(texts):
        single = explain(picture, text, model=clip, words=True)
        for maps in (found.maps, quick.maps):
            same_maps(maps[index : index + 1], single.maps)
        for ours, theirs in zip(quick.words[index], single.words[0], strict=True):
            assert ours.value == pytest.approx(theirs.value, rel=1e-3, abs=1e-6)
    assert found.heatmap().shape == (40, 60)
    alone = MMGrad(clip).texts(picture, "make it red")
    same_maps(alone.maps, found.maps[:1])


def test_words_encoded_in_advance_for_several_pictures(picture, clip, monkeypatch):
    texts, other = ["make it red", "make it blue"], picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mmgrad = MMGrad(clip, method="layercam")
    expected = [mmgrad.texts(one, texts) for one in (picture, other)]
    encoded = mmgrad.encode_texts(texts)
    monkeypatch.setattr(clip, "encode_text", lambda *_: pytest.fail("encoded again"))
    for one, plain in zip((picture, other), expected, strict=True):
        found = mmgrad.texts(one, encoded)
        assert torch.equal(found.maps, plain.maps)
        assert (found.texts, found.images, found.notes) == (plain.texts, plain.images, plain.notes)
        assert found.heatmap().shape == (40, 60)


def test_many_texts_are_explained_by_the_method_of_a_call(picture, clip, same_maps):
    texts = ["make it red", "make it blue"]
    calls = [explain(picture, text, model=clip) for text in texts]
    strings, encoded = MMGrad(clip).texts(picture, texts), MMGrad(clip)
    encoded = encoded.texts(picture, encoded.encode_texts(texts))
    for index, single in enumerate(calls):
        for found in (strings, encoded):
            assert found.method == single.method == "relevancy"
            same_maps(found.maps[index : index + 1], single.maps)
    inputs = clip.preprocess([picture], texts[:1]).tensors
    ids = clip.processor.encode_texts(texts, [])
    ids_alone = MMGrad(clip).encode_texts({"input_ids": ids[0], "attention_mask": ids[1]})
    assert MMGrad(clip).texts(inputs["pixel_values"], ids_alone).method == "layercam"


def test_an_image_is_prepared_once_where_the_method_is_known(picture, clip, monkeypatch):
    prepared, prepare = [], many_texts.prepare_texts
    monkeypatch.setattr(many_texts, "prepare_texts", lambda *args, **more: prepared.append(1) or prepare(*args, **more))
    mmgrad = MMGrad(clip, method="layercam")
    mmgrad.texts(picture, mmgrad.encode_texts(["make it red", "make it blue"]))
    assert len(prepared) == 1


def test_phrases_light_regions_of_their_own(picture, tiny, same_maps):
    sentence = "make the red circle left of the large star blue"
    maps = phrase_maps(picture, sentence, model=tiny)
    assert maps.phrases == ("the red circle", "left of the large star blue")
    assert maps.spans == ((5, 19), (20, 47))
    assert maps.explanation.texts == (sentence, *maps.phrases)
    for index, text in enumerate(maps.explanation.texts):
        single = explain(picture, text, model=tiny)
        same_maps(maps.explanation.maps[index : index + 1], single.maps)
    one = maps.overlay()
    assert one.width > 3.5 * maps.explanation.overlay().width / 2
    assert maps.overlay(contour=True).tobytes() != one.tobytes()
    given = phrase_maps(picture, sentence, model=tiny, phrases=["circle", (20, 24)], words=True, weighting="hirescam")
    assert given.phrases == ("circle", "left")
    assert given.explanation.method == "hirescam"
    assert len(given.explanation.words) == 3
    assert phrase_maps(picture, "remove it", model=tiny).spans == ()
    with pytest.raises(TypeError, match="text must be one sentence as a string, got list"):
        phrase_maps(picture, [sentence], model=tiny)
    with pytest.raises(InputError, match="does not know its image"):
        replace(maps, explanation=replace(maps.explanation, images=None)).overlay()


def test_weights_that_are_offloaded(picture, tiny_folder):
    """accelerate keeps them away, on the meta device, and brings them for a forward."""
    from accelerate import cpu_offload

    near, away = load_composer(tiny_folder), load_composer(tiny_folder)
    cpu_offload(away, torch.device("cpu"))
    assert {parameter.device.type for parameter in away.parameters()} == {"meta"}
    texts = ["make it blue", "remove the star"]
    for text in ("make it blue", texts):
        expected, found = (explain(picture, text, model=one) for one in (near, away))
        torch.testing.assert_close(found.maps, expected.maps)
    assert explain(picture, texts, model=away, device="cpu").maps.shape == (2, 8, 8)


def test_offloaded_weights_are_not_moved(picture, tiny, monkeypatch):
    monkeypatch.setattr("mmgrad_explain.api.check_device", torch.device)
    tiny.name = "tiny"
    tiny.network.text.to("meta")
    with pytest.raises(InputError, match="device: weights of tiny are offloaded, and accelerate says where they run: "):
        explain(picture, "make it blue", model=tiny, device="cuda")


def test_a_model_on_several_devices_stays_there(tiny, picture, monkeypatch):
    there = [*tiny.parameters()]
    moved = []
    monkeypatch.setattr(tiny, "to", moved.append)
    monkeypatch.setattr("mmgrad_explain.api.check_device", lambda _: torch.device("cuda"))
    elsewhere = SimpleNamespace(device=torch.device("cuda", 1), is_meta=False)
    monkeypatch.setattr(tiny, "parameters", lambda: iter([*there, elsewhere]))
    with pytest.raises(InputError, match=r"device: the parts of tiny.* lie on several devices, and stay there"):
        explain(picture, "make it red", model=tiny, device="cuda")
    assert moved == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("\ud800", "halves of characters"), ("x" * 100_001, "text has 100001 characters: give up to 100000")],
)
def test_texts_that_no_model_reads(tiny, picture, text, message):
    with pytest.raises(InputError, match=message):
        explain(picture, text, model=tiny)


def test_phrases_have_a_number(tiny, picture):
    with pytest.raises(
        InputError, match="phrases: 101 are too many, since each is explained by itself: give up to 100"
    ):
        phrase_maps(picture, "red and " * 101, model=tiny)
