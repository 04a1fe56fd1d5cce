"""Parts that both tabs have: choices, examples to press, small pictures."""

import base64
import io

from PIL import Image

from mmgrad_explain.attention.scores.named import SCORES
from mmgrad_explain.web.components import example_strip, image_input, layer_choices, score_choices, thumbnail
from mmgrad_explain.web.examples import Code, Example
from mmgrad_explain.web.models import Abilities

CAN = Abilities((("body", (8, 6)),), ("shift",), ("pair",), targets=True, answers=False)


def test_layers_with_their_grids():
    assert layer_choices(CAN) == [("the model's own", ""), ("body (8 x 6)", "body")]


def test_scores_that_need_a_target_say_so():
    alone, own = ("what the text changes (shift)", "shift"), ("the model's own", "")
    assert score_choices(CAN, target=False) == [own, alone, ("what both have in common (pair; needs a target)", "pair")]
    assert score_choices(CAN, target=True) == [own, alone, ("what both have in common (pair)", "pair")]


def test_every_score_has_a_label():
    can = Abilities((), tuple(SCORES), (), targets=False, answers=False)
    assert [name for _, name in score_choices(can, target=True)] == ["", *SCORES]


def test_a_thumbnail_is_small_and_keeps_the_shape(picture):
    head, _, content = thumbnail(picture.resize((600, 400))).partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (96, 64)


def test_examples_are_buttons_with_their_number(picture):
    examples = [Example(text, picture, picture, Code(""), Code("")) for text in ("make it red", "a <b> & c")]
    shown = example_strip(examples).value
    assert 'data-index="0"' in shown
    assert 'data-index="1"' in shown
    assert "<span>a &lt;b&gt; &amp; c</span>" in shown


def test_images_from_the_server_are_sent_lossless():
    made = image_input(label="Picture")
    assert (made.format, made.type, made.label) == ("png", "filepath", "Picture")
