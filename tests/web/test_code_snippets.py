"""The programs beside the answers; that they run is tested with the answers."""

from dataclasses import replace

import pytest

from mmgrad_explain.web.code_snippets import explain_snippet, search_snippet
from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.explain_request import ExplainRequest


@pytest.fixture
def request_(picture):
    return ExplainRequest(picture, ("make it red",), "automatic", image_name="query.png")


def test_an_upload_is_read_from_its_file(request_):
    assert explain_snippet(request_, "reference").splitlines() == [
        "from mmgrad_explain import explain",
        "",
        "picture = 'query.png'  # the picture that was given to the page",
        "explanation = explain(picture, 'make it red', model='reference')",
        "for index in range(len(explanation)):",
        "    print(explanation.in_words(index))",
        '    explanation.save_overlay(f"map_{index}.png", index)',
    ]


def test_what_was_chosen_is_passed_on(request_, picture):
    chosen = replace(
        request_, texts=("a", "b"), target=picture, target_name="goal.png", layer="body", score="pair", words=True
    )
    program = explain_snippet(chosen, "mine")
    assert "target = 'goal.png'" in program
    assert (
        "explain(picture, ['a', 'b'], target=target, model='mine', layer='body', score='pair', words=True)"
    ) in program
    assert "answer='red'" in explain_snippet(replace(request_, answer="red"), "mine")


def test_phrases_have_a_function_of_their_own(request_):
    program = explain_snippet(replace(request_, phrases=True), "mine")
    assert program.startswith("from mmgrad_explain import phrase_maps\n")
    assert "explanation = phrase_maps(picture, 'make it red', " in program
    assert ").explanation\n" in program


def test_an_example_is_drawn(request_):
    example = draw_examples()[0]
    program = explain_snippet(replace(request_, image=example.image, target=example.target), "reference")
    assert f"picture = {example.code.text}\ntarget = {example.target_code.text}\n" in program
    assert program.count(example.code.imports[0]) == 1
    assert "given to the page" not in program


def test_a_search_of_two_steps(picture):
    asked = [(None, "make it red"), (2, "make it 'blue'")]
    options = {"examples": ("reference", "shapes"), "k": 3, "layer": None, "score": "similarity"}
    assert search_snippet((picture, "query.png"), asked, gallery="mine.db", **options).splitlines() == [
        "from mmgrad_explain import Gallery",
        "",
        "with Gallery('mine.db') as gallery:",
        "    picture = 'query.png'  # the picture that was given to the page",
        "    found = gallery.retrieve(picture, 'make it red', k=3)",
        """    found = gallery.retrieve(found.hits[1].path, "make it 'blue'", k=3)""",
        "    maps = gallery.explain(found, score='similarity')",
        '    maps.sheet().save("hits.png")',
    ]
    program = search_snippet((picture, "query.png"), asked, gallery=None, **options)
    assert "from mmgrad_explain.web.examples import write_example_images" in program
    assert """write_example_images(f"{folder}/pictures", 'shapes')""" in program
