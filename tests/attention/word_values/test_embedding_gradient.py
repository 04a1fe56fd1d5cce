"""Gradient x input at the embedding of the words, from the map's own backward pass."""

import threading

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.word_values.embedding_gradient import WordCapture
from mmgrad_explain.errors import CaptureError, GradientError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def score(output):
    return output.embedding[:, 0]


def by_hand(model, image, ids):
    """Gradient x input, written out."""
    embedding = model.words.tokens(ids).detach().requires_grad_()
    places = model.words.positions(torch.arange(ids.shape[1])[None].expand(ids.shape))
    text = torch.tanh(model.words.mix(embedding + places)).mean(1)
    (gradient,) = torch.autograd.grad(model.compose(model.tower(image), text)[:, 0].sum(), embedding)
    return (gradient * embedding).sum(-1).detach()


def test_equals_the_formula_and_leaves_map_and_model_alone(zoo, model):
    image, ids = zoo.pictures(), zoo.ids()
    plain = MMGrad(model, "tower", score)(image, ids)
    with zoo.leaves_alone(model):
        explanation = MMGrad(model, "tower", score, words="gradient")(image, ids)
    torch.testing.assert_close(explanation.maps, plain.maps)
    assert plain.words is None
    expected = by_hand(model, image, ids)
    found = torch.tensor([[word.value for word in words] for words in explanation.words])
    torch.testing.assert_close(found, expected)
    scaled = torch.tensor([[word.scaled for word in words] for words in explanation.words])
    torch.testing.assert_close(scaled, expected / expected.abs().amax(1, keepdim=True))
    assert explanation.words[0][1].text == f"#{int(ids[0, 1])}"
    assert explanation.words[0][1].positions == (1,)
    assert explanation.manifest()["words"][1][0]["tokens"] == [0]


def test_one_forward_and_one_gradient(zoo, model, monkeypatch):
    calls = {"gradient": 0, "forward": 0}
    real = torch.autograd.grad

    def grad(*args, **kwargs):
        calls["gradient"] += 1
        return real(*args, **kwargs)

    def forward(*_):
        calls["forward"] += 1

    monkeypatch.setattr(torch.autograd, "grad", grad)
    model.register_forward_hook(forward)
    MMGrad(model, "tower", score, words="gradient")(zoo.pictures(), zoo.ids())
    assert calls == {"gradient": 1, "forward": 1}


def test_without_gradients_of_the_callers_or_the_models_own(zoo, model):
    image, ids = zoo.pictures(), zoo.ids()
    expected = MMGrad(model, "tower", score, words="gradient")(image, ids).words
    real = model.words.forward
    model.words.forward = lambda ids: real(ids).detach()
    with pytest.raises(GradientError, match=r"words: the score does not depend on the embedding 'words\.tokens'"):
        MMGrad(model, "tower", score, words="gradient")(image, ids)
    model.words.forward = torch.no_grad()(real)
    assert MMGrad(model, "tower", score, words="gradient")(image, ids).words == expected
    with torch.inference_mode():
        assert MMGrad(model, "tower", score, words="gradient")(image, ids).words == expected
    model.words.forward = torch.inference_mode()(real)
    with pytest.raises(
        GradientError, match=r"words: the embedding 'words\.tokens' runs inside a torch\.inference_mode"
    ):
        MMGrad(model, "tower", score, words="gradient")(image, ids)


def test_the_embedding_can_be_named(zoo, model):
    image, ids = zoo.pictures(), zoo.ids()
    found = MMGrad(model, "tower", score, words="gradient")(image, ids)
    named = MMGrad(model, "tower", score, words="gradient", words_layer="words.tokens")(image, ids)
    assert named.words == found.words
    places = MMGrad(model, "tower", score, words="gradient", words_layer=model.words.positions)(image, ids)
    assert places.words != found.words
    assert places.words[0][2].text == "#2"
    with pytest.raises(InputError, match=r"no layer 'words\.token'"):
        MMGrad(model, "tower", score, words="gradient", words_layer="words.token")
    with pytest.raises(CaptureError, match=r"words: 'words\.mix' was not called with whole numbers"):
        MMGrad(model, "tower", score, words="gradient", words_layer="words.mix")(image, ids)


def test_no_embedding_to_be_found(zoo):
    with pytest.raises(CaptureError, match=r"words: no nn\.Embedding .* name the embedding as words_layer="):
        MMGrad(zoo.build(zoo.CNN), "late", zoo.class_score(), words="gradient")(zoo.pictures())


def test_a_bag_of_words_has_no_single_ones(zoo, model):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.EmbeddingBag(20, 8)

        def forward(self, ids):
            return self.tokens(ids)

    model.words = Bag()
    with pytest.raises(CaptureError, match=r"words: 'words\.tokens' mixes the words' vectors"):
        MMGrad(model, "tower", score, words="gradient")(zoo.pictures(), zoo.ids())


def test_one_text_a_sample(zoo, model):
    with pytest.raises(InputError, match="words: 1 texts for 2 samples"):
        MMGrad(model, "tower", score, words="gradient")(zoo.pictures(2), zoo.ids(1))


def test_values_that_overflow(zoo, model):
    model.words.tokens.weight.data[5] = float("inf")
    with pytest.raises(GradientError, match="not finite"):
        MMGrad(model, "tower", lambda o: o.embedding.nan_to_num(0, 0, 0)[:, 0], words="gradient")(
            zoo.pictures(1), torch.tensor([[5, 5]])
        )


def test_a_mask_and_other_numbers_do_not_disturb(zoo):
    class Masked(zoo.TwoInput):
        def __init__(self):
            super().__init__()
            self.kinds = nn.Embedding(30, 8)  # a larger table, but for token types

        def forward(self, image, input_ids, attention_mask, token_type_ids):
            text = self.words.tokens(input_ids) + self.kinds(token_type_ids)
            return zoo.Composed(self.compose(self.tower(image), (text * attention_mask[..., None]).sum(1)))

    model = zoo.build(Masked)
    ids, mask = torch.tensor([[3, 4, 0], [5, 6, 7]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    explanation = MMGrad(model, "tower", score, words="gradient")(
        image=zoo.pictures(), input_ids=ids, attention_mask=mask, token_type_ids=torch.ones_like(ids)
    )
    assert [[word.text for word in words] for words in explanation.words] == [["#3", "#4"], ["#5", "#6", "#7"]]


def test_two_calls_of_the_tower_add_up(zoo, model):
    image, ids = zoo.pictures(), zoo.ids()
    single = MMGrad(model, "tower", score, words="gradient")(image, ids).words
    words = model.words
    model.words = Twice(words)
    double = MMGrad(model, "tower", score, words="gradient")(image, ids).words
    # the mean of two equal encodings is the encoding
    assert [[word.value for word in one] for one in double] == [
        pytest.approx([word.value for word in one]) for one in single
    ]


class Twice(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.words = words

    def forward(self, ids):
        return (self.words(ids) + self.words(ids)) / 2


def test_a_real_model_unmodified(zoo):
    """transformers' CLIP: against the gradient at the embedding's weights, each id being there once."""
    clip = zoo.clip()
    ids, mask = torch.tensor([[1, 5, 7, 19, 0], [2, 9, 3, 8, 19]]), torch.tensor([[1, 1, 1, 1, 0], [1] * 5])
    inputs = {"pixel_values": zoo.pictures(2, (32, 32)), "input_ids": ids, "attention_mask": mask}
    with zoo.leaves_alone(clip):
        explanation = MMGrad(clip, words="gradient")(**inputs)
    output = clip(**inputs)
    scores = torch.cosine_similarity(output.image_embeds, output.text_embeds)
    weight = clip.text_model.embeddings.token_embedding.weight
    for row, words, score in zip(ids, explanation.words, scores, strict=True):
        (gradient,) = torch.autograd.grad(score, weight, retain_graph=True)
        expected = (gradient * weight).sum(1)[row[: len(words)]].tolist()
        assert [word.value for word in words] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert [len(words) for words in explanation.words] == [4, 5]


def test_checkpointing_and_half_precision(zoo, model):
    from torch.utils.checkpoint import checkpoint

    image, ids = zoo.pictures(), zoo.ids()
    expected = [
        word.value for words in MMGrad(model, "tower", score, words="gradient")(image, ids).words for word in words
    ]

    class Saving(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, ids):
            return checkpoint(self.inner, ids, use_reentrant=False)

    model.words = Saving(model.words)
    found = MMGrad(model, "tower", score, words="gradient")
    assert [w.value for words in found(image, ids).words for w in words] == pytest.approx(expected, rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = [w.value for words in found(image, ids).words for w in words]
    assert half == pytest.approx(expected, rel=0.1, abs=0.02 * max(map(abs, expected)))


def test_other_threads_are_left_alone(model):
    with WordCapture(model, ((torch.tensor([[1, 2]]),), {})) as word_capture:
        thread = threading.Thread(target=model.words, args=(torch.tensor([[1, 2]]),))
        thread.start()
        thread.join()
        assert word_capture.calls == []
        model.words(torch.tensor([[1, 2]]))
        assert [call.name for call in word_capture.calls] == ["words.tokens"]


def test_a_transformers_tokenizer_names_words(zoo, model, pieces):
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    ids = torch.tensor([pieces.encode("make it redder").ids])
    for tokenizer in (wrapped, pieces):
        explanation = MMGrad(model, "tower", score, words="gradient", tokenizer=tokenizer)(zoo.pictures(1), ids)
        expected = by_hand(model, zoo.pictures(1), ids)[0]
        assert [word.text for word in explanation.words[0]] == ["make", "it", "redder"]
        assert explanation.words[0][2].value == pytest.approx(float(expected[3] + expected[4]), rel=1e-4)
