"""Values of words of any model: what a user gets who leaves each word out by hand."""

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.word_values.measure import make_words
from mmgrad_explain.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def score(output):
    return output.embedding[:, 0]


def values_of(explanation):
    return [[word.value for word in words] for words in explanation.words]


def without(row, at):
    return torch.cat([row[:at], row[at + 1 :]])[None]


def by_hand(run, image, ids):
    """The score of each text, less that of the text without each of its tokens."""
    with torch.no_grad():
        return [
            [float(run(one[None], row[None]) - run(one[None], without(row, at))) for at in range(len(row))]
            for one, row in zip(image, ids, strict=True)
        ]


def test_equals_leaving_words_out_by_hand_and_leaves_map_and_model_alone(zoo, model):
    image, ids = zoo.pictures(), zoo.ids()
    plain = MMGrad(model, "tower", score)(image, ids)
    with zoo.leaves_alone(model):
        found = MMGrad(model, "tower", score, words=True)(image, ids)
    torch.testing.assert_close(found.maps, plain.maps)
    expected = by_hand(lambda *inputs: score(model(*inputs)), image, ids)
    assert values_of(found) == [pytest.approx(one, rel=1e-3, abs=1e-6) for one in expected]
    assert found.words_by == ("leave-one-out", "leave-one-out")
    assert max(abs(word.scaled) for word in found.words[0]) == 1
    assert found.manifest()["words_by"] == ["leave-one-out", "leave-one-out"]


def test_it_needs_no_gradient_at_the_words(zoo, model):
    """A text tower without a graph has exact values all the same, asked for by name or not."""
    image, ids = zoo.pictures(), zoo.ids()
    expected = values_of(MMGrad(model, "tower", score, words="leave-one-out")(image, ids))
    real = model.words.forward
    model.words.forward = lambda ids: real(ids).detach()
    for words in (True, "leave-one-out"):
        assert values_of(MMGrad(model, "tower", score, words=words)(image, ids)) == expected


def test_many_texts_of_one_image(zoo, model):
    image, ids = zoo.pictures(1), zoo.ids(3)
    runs = []
    model.tower.register_forward_hook(lambda *_: runs.append(1))
    stages = {"encode": model.tower, "compose": lambda grid, ids: zoo.Composed(model.compose(grid, model.words(ids)))}
    found = MMGrad(model, "tower", score, words=True).texts(image, ids, **stages)
    assert runs == [1], "the image is encoded once"
    expected = by_hand(lambda *inputs: score(model(*inputs)), image.expand(3, -1, -1, -1), ids)
    assert values_of(found) == [pytest.approx(one, rel=1e-3, abs=1e-6) for one in expected]


def test_clip_keeps_its_end_token(zoo):
    """With padding and a mask, both texts in a batch: as each shorter text gives alone, without any padding."""
    clip = zoo.clip()
    ids, mask = torch.tensor([[1, 5, 7, 19, 0], [2, 9, 3, 8, 19]]), torch.tensor([[1, 1, 1, 1, 0], [1] * 5])
    pixels = zoo.pictures(2, (32, 32))

    def name(ids, kept):
        return [[(str(row[at]), (at,)) for at in places[1:-1]] for row, places in zip(ids, kept, strict=True)]

    with zoo.leaves_alone(clip):
        found = MMGrad(clip, words=name)(pixel_values=pixels, input_ids=ids, attention_mask=mask)

    def cosine(image, row):
        output = clip(pixel_values=image, input_ids=row)
        return torch.cosine_similarity(output.image_embeds, output.text_embeds)

    expected = by_hand(cosine, pixels, [ids[0, :4], ids[1]])
    assert values_of(found) == [pytest.approx(one[1:-1], rel=1e-2, abs=1e-5) for one in expected]
    assert found.words_by == ("leave-one-out",) * 2


def test_what_cannot_be_left_out_has_values_by_the_gradient_and_a_note(zoo):
    class Paired(zoo.TwoInput):
        def forward(self, image, input_ids, attention_mask):
            return super().forward(image, input_ids)

    model = zoo.build(Paired)
    inputs = {"image": zoo.pictures(), "input_ids": zoo.ids(), "attention_mask": torch.ones(2, 4, 4)}
    found = MMGrad(model, "tower", score, words=True)(**inputs)
    assert found.words_by == ("gradient", "gradient")
    (note,) = found.notes
    assert note.kind == "word-values"
    assert note.samples is None
    assert values_of(found) == values_of(MMGrad(model, "tower", score, words="gradient")(**inputs))
    with pytest.raises(InputError, match=r"words: they cannot be left out: attention_mask.*ask for words='gradient'"):
        MMGrad(model, "tower", score, words="leave-one-out")(**inputs)


def test_a_text_of_one_word(zoo, model):
    found = MMGrad(model, "tower", score, words=True)(zoo.pictures(1), torch.tensor([[3]]))
    assert found.words_by == ("gradient",)
    assert "without its only word" in found.notes[0].text
    with pytest.raises(InputError, match="nothing is left of a text of one word"):
        MMGrad(model, "tower", score, words="leave-one-out")(zoo.pictures(1), torch.tensor([[3]]))


def test_a_sharded_model_runs_once(zoo, model):
    """Its processes, each with texts of its own, must run the same number of forwards."""
    kind = type("FullyShardedDataParallel", (type(model),), {})
    model.__class__ = kind
    found = MMGrad(model, "tower", score, words=True)(zoo.pictures(), zoo.ids())
    assert found.words_by == ("gradient", "gradient")
    assert "sharded" in found.notes[0].text


def test_a_score_that_reads_places_is_not_asked_of_shorter_texts(zoo):
    """The last place of a text of padded length is another place of a shorter one."""

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.words = zoo.Tower(), nn.Embedding(20, 8)

        def forward(self, image, ids):
            return {"logits": self.words(ids) * self.tower(image).mean((2, 3))[:, None]}

    found = MMGrad(zoo.build(Tagger), "tower", lambda o: o["logits"][:, -1, 0], words=True)(zoo.pictures(), zoo.ids())
    assert found.words_by == ("gradient", "gradient")
    assert "reads places of the text" in found.notes[0].text


def test_one_text_a_sample(zoo, model):
    with pytest.raises(InputError, match="words: 1 texts for 2 samples"):
        MMGrad(model, "tower", score, words="leave-one-out")(zoo.pictures(2), zoo.ids(1))


def test_zeros_stay_zeros():
    one, two = make_words([("a", (0,)), ("b", (1,))], [0.0, 0.0])
    assert (one.scaled, two.value, make_words([], [])) == (0.0, 0.0, ())
