"""What a map means in plain words: the whole text once, and each sentence that another case changes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.explanation import Explanation
from mmgrad_explain.explanation.words import Word
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.notes import Note

LIMITS = (
    "What the map does not say. It shows what this one number depends on, through this one layer and to first order: "
    "where the number would rise if a little more were seen of what is seen there. It is a fact about the model, not "
    "about the picture: a bright place is where the model looks, whether or not it should. It does not say how the "
    "model uses what it sees, nor that the model is right. Brightness cannot be compared between pictures, since each "
    "map is drawn relative to its own brightest place. And a model that was trained to give good maps may still decide "
    "by something else: good maps are no proof that they are faithful."
)


def made(*maps, **known):
    """An explanation of one sample with these maps, one a call, each (h, w)."""
    calls = tuple(one[None] for one in maps)
    flat = torch.tensor([bool(maps[0].max() <= maps[0].min())])
    facts = {
        "calls": calls,
        "score": torch.tensor([0.25]),
        "score_name": "image-text",
        "method": "gradcam",
        "layers": {"tower.body": list(calls)},
        "signed": {"tower.body": list(calls)},
        "layouts": {"tower.body": ("nchw",) * len(calls)},
        "flat": flat,
        "clipped": torch.tensor([False]),
        "model": "clip",
        "texts": ("a dog",),
        "placements": (Placement((60, 90), (40, 60), (40 / 60, 60 / 90), (0.0, 0.0)),),
    }
    return Explanation(**(facts | known))


def spot(rows=4, columns=6, *cells):
    """A map that is 1 in some cells."""
    grid = torch.zeros(rows, columns)
    for cell in cells:
        grid[cell] = 1.0
    return grid


def paragraph(explanation, number, **options):
    return explanation.in_words(**options).split("\n\n")[number]


def test_the_whole_text():
    explanation = made(spot(4, 6, (0, 0)), notes=(Note("cut-text", "'a dog' was cut."),))
    assert explanation.in_words() == (
        'The model clip was given a picture and the text "a dog". The map is of the score "image-text", which is 0.25 '
        "here: how alike the picture and the text are to the model, from -1 to 1 (a cosine).\n\n"
        "The map is brightest in the upper left of the picture. What hangs together there and is at least half as "
        "bright as the brightest point lies in a box of 15 x 15 (x 0 to 15, y 0 to 15, of 90 x 60 pixels of the "
        "picture), covers 4% of the picture, and holds 72% of the whole map (an even map would have 4% there). No "
        "other place is half as bright. The rest, 28%, is fainter and lies around this place, up to 9 pixels from its "
        "box. So the map has one clear place.\n\n"
        "The map was read at the layer tower.body, on a grid of 6 x 4 cells. A cell covers about 15 x 15 pixels of the "
        "picture; the map shows nothing finer.\n\n"
        "Worth knowing: 'a dog' was cut.\n\n" + LIMITS
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "shift",
            39368.4,
            (
                '"shift", which is 39,368 here: how far the text moves the model\'s description of the picture (the '
                "squared length of that move)."
            ),
        ),
        (
            "similarity",
            -0.51234,
            (
                '"similarity", which is -0.5123 here: how alike the picture put together with the text and the target '
                "are to the model, from -1 to 1 (a cosine)."
            ),
        ),
        (
            "pair",
            1.5,
            (
                '"pair", which is 1.5 here: how large the numbers are by which the model describes the picture and the '
                "target, each put together with the text; those in which the two agree count most."
            ),
        ),
        (
            "pair-different",
            1.5,
            (
                '"pair-different", which is 1.5 here: how large the numbers are by which the model describes the '
                "picture and the target, each put together with the text; those in which the two differ count most."
            ),
        ),
        (
            "match",
            2.0,
            (
                '"match", which is 2 here: how strongly the model says "this picture and this text belong together" (a '
                "logit: higher is stronger)."
            ),
        ),
        (
            "answer",
            -0.5,
            (
                '"answer", which is -0.5 here: the logarithm of the probability of the answer, or of the part of it '
                "that was asked about: 0 would be certain, and lower is less likely."
            ),
        ),
        (
            "my_score",
            3.0,
            '"my_score", which is 3 here: a number whose meaning the model sets, or whoever chose it.',
        ),
    ],
)
def test_scores(name, value, said):
    explanation = made(spot(4, 6, (0, 0)), score_name=name, score=torch.tensor([value]))
    start = 'The model clip was given a picture and the text "a dog". The map is of the score '
    assert paragraph(explanation, 0) == start + said


def test_nothing_is_known_but_the_picture():
    explanation = made(spot(4, 6, (0, 0)), model="", texts=None)
    assert paragraph(explanation, 0).startswith('The model was given a picture. The map is of the score "image-text"')


def test_an_answer_has_a_probability():
    asked = made(spot(4, 6, (0, 0)), score_name="answer", answers=("a cat",), score=torch.tensor([-0.6931472]))
    assert paragraph(asked, 0).endswith('less likely. The answer is "a cat": a probability of 0.5.')
    other = replace(asked, score_name="margin")
    assert paragraph(other, 0).endswith('whoever chose it. The answer is "a cat".'), "its number is no probability"


class TestTargets:
    @pytest.fixture
    def pair(self):
        explanation = made(spot(4, 6, (0, 0)), spot(2, 2, (1, 1)), score_name="shift")
        placement = Placement((20, 30), (40, 60), (2.0, 2.0), (0.0, 0.0))
        return replace(explanation, targets=("any picture",), target_placements=(placement,))

    def test_each_map_says_whose_it_is(self, pair):
        first, second = paragraph(pair, 0), paragraph(pair, 0, target=True)
        given = 'The model clip was given a picture, the text "a dog" and a target picture. '
        both = "It is the sum of the picture's and the target's, and each one's map comes from its own part. "
        assert first.startswith(given)
        assert first.endswith(both + "This is the map of the first picture; the second has one of its own.")
        assert second.startswith(given)
        assert second.endswith(both + "This is the map of the target.")
        assert both not in paragraph(replace(pair, score_name="similarity"), 0), "one number of both"

    def test_the_targets_own_pixels(self, pair):
        assert "lower right of the picture" in paragraph(pair, 1, target=True)
        assert "of 30 x 20 pixels of the picture" in paragraph(pair, 1, target=True)
        assert paragraph(pair, 2, target=True) == (
            "The map was read at the layer tower.body, on a grid of 2 x 2 cells. A cell covers about 15 x 10 pixels of "
            "the picture; the map shows nothing finer."
        )

    def test_two_calls_of_a_stranger(self, pair):
        stranger = replace(pair, targets=None, score_name="output")
        assert paragraph(stranger, 0).endswith("This is the map of the first picture; the second has one of its own.")

    def test_no_target(self):
        with pytest.raises(InputError, match="there is no map of a target"):
            made(spot()).in_words(target=True)


class TestResolution:
    def test_on_which_pixels(self):
        unplaced = made(spot(4, 6, (0, 0)), placements=None)
        assert "of 6 x 4 cells of the map), covers 4% of the picture" in paragraph(unplaced, 1)
        assert paragraph(unplaced, 2).endswith("on a grid of 6 x 4 cells. It shows nothing finer than a cell.")
        known = replace(unplaced, input_size=(20, 42))
        assert "of 42 x 20 pixels of the model's input" in paragraph(known, 1)
        assert paragraph(known, 2).endswith(
            "A cell covers about 7.0 x 5.0 pixels of the model's input; the map shows nothing finer."
        )

    def test_a_fused_map(self):
        explanation = replace(made(spot(4, 6, (0, 0))), method="layercam at late + layercam at early")
        assert paragraph(explanation, 2).startswith(
            "The map was fused of those of layercam at late and layercam at early, on a grid of 6 x 4 cells."
        )

    def test_several_layers(self):
        explanation = made(spot(4, 6, (0, 0)))
        maps = explanation.calls[0]
        both = replace(explanation, layers={"early": [maps], "late": [maps[:, :2, :3]]})
        assert paragraph(both, 2).startswith(
            "The map was made of those of the layers early (6 x 4 cells) and late (3 x 2 cells) (mean), on a grid of 6 "
            "x 4 cells. A cell covers"
        )
        assert paragraph(both, -1) == LIMITS.replace("this one layer", "this one choice of layers")


EMPTY = (
    "The map is empty. Wherever the picture counts at all, the score would fall if more were seen of what is there; a "
    "map keeps only places that raise the score, and so nothing is left. That is an answer too: seen through this "
    "layer, no part of the picture speaks for this score."
)
FLAT = (
    "The map is flat: seen through this layer, no place of the picture counts more than another for this score, so the "
    "map points nowhere. That is an answer too."
)


class TestNothingIsBright:
    class Net(nn.Module):
        """Pictures to a grid, of which the score is a sum."""

        def __init__(self):
            super().__init__()
            self.layer = nn.AvgPool2d(4)

        def forward(self, x):
            return self.layer(x)

    def explained(self, pictures, sign):
        with pytest.warns(MMGradWarning):
            return MMGrad(self.Net(), "layer", lambda grid: sign * grid.square().sum((1, 2, 3)), "gradcam")(pictures)

    def test_empty(self):
        one = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        explanation = self.explained(one, -1.0)
        assert explanation.notes
        assert bool(explanation.clipped.all())
        text = explanation.in_words(1).split("\n\n")
        assert text[1] == EMPTY
        assert [part[:12] for part in text] == ["The model Ne", "The map is e", "The map was ", "What the map"], (
            "no notes"
        )

    def test_flat(self):
        explanation = self.explained(torch.ones(1, 3, 16, 16), 1.0)
        assert paragraph(explanation, 1) == FLAT

    def test_of_the_target(self):
        explanation = made(spot(4, 6, (0, 0)), torch.zeros(2, 2))
        below = replace(explanation, signed={"tower.body": [explanation.calls[0], -explanation.calls[1] - 1]})
        assert paragraph(explanation, 1, target=True) == FLAT
        assert paragraph(below, 1, target=True) == EMPTY
        assert paragraph(below, 1).startswith("The map is brightest")
        once = replace(explanation, signed={"tower.body": [explanation.calls[0]]})
        assert paragraph(once, 1, target=True) == FLAT


class TestWords:
    def said(self, *values, by="leave-one-out"):
        words = tuple(Word(text, value * 2, value, (place,)) for place, (text, value) in enumerate(values))
        return paragraph(made(spot(4, 6, (0, 0)), words=(words,), words_by=(by,)), 3)

    def test_both_ways(self):
        assert self.said(("make", 0.2), ("it", -0.001), ("red", 1.0), ("not", -0.4)) == (
            'Of the words, the score is raised most by "red" (+1.00) and "make" (+0.20) and lowered most by "not" '
            "(-0.40). The strongest word counts as 1. Each value is what the score loses when the sentence is read "
            "without that word; they do not add up to the score."
        )

    def test_by_the_gradient(self):
        said = self.said(("red", 1.0), by="gradient")
        assert said.endswith(
            "The values are gradients, which say little of what happens without a word; they do not add "
            "up to the score."
        )

    def test_the_three_strongest(self):
        said = self.said(("a", -0.1), ("b", -1.0), ("c", -0.2), ("d", -0.3))
        assert said.startswith('Of the words, the score is lowered most by "b" (-1.00), "d" (-0.30) and "c" (-0.20). ')

    def test_none(self):
        assert self.said() == "The model read none of the words."
        assert self.said(("make", 0.0)) == "No word changes the score."
