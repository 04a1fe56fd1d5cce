"""A text about other things, in words that the model knows."""

import pytest

from mmgrad_explain.composers.content_words import content_words, find_unknown_words, word_class
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.unrelated_texts import SENTENCES, find_unrelated_text


@pytest.fixture(scope="module")
def scenes():
    return load_composer("reference")


@pytest.mark.parametrize("text", ["make the large circle red", "remove the green square", "make it larger", *SENTENCES])
def test_it_names_no_thing_of_the_text_and_the_model_knows_its_words(scenes, text):
    other = find_unrelated_text(scenes, text)
    things = [{word for word in content_words(one.lower()) if word_class(word) == 0} for one in (text, other)]
    assert not things[0] & things[1]
    assert find_unknown_words(scenes, [other]) == []
