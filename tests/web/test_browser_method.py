"""The pickers of model, layer, score and method, in a real browser: each changes the answer and the code."""

import pytest


@pytest.fixture
def method(page, acts):
    """The page with its pickers in sight, and what asks it."""
    page.get_by_role("button", name="Model and method").click()
    page.get_by_label("Method", exact=True).wait_for()

    def ask():
        acts.answered(page, page.get_by_role("button", name="Show where it looks").click)
        return acts.pixels(page), acts.code(page)

    return ask


def pick_model(page, acts, name):
    with page.expect_response("**/queue/data*"):
        acts.pick(page, "Model", name)


def test_layer_and_method(page, acts, method):
    pick_model(page, acts, "reference")  # of one model alone, all stages are offered
    seen = [acts.pixels(page)]
    for label, option, said in (
        ("Layer", "network.visual.layer3 (6 x 6)", "layer='network.visual.layer3'"),
        ("Method", "hirescam", "method='hirescam'"),
        ("Layer", "network.neck (24 x 24)", "layer='network.neck', method='hirescam'"),
    ):
        acts.pick(page, label, option)
        shown, code = method()
        assert shown not in seen
        assert said in code
        seen.append(shown)


def test_a_score_that_needs_a_target(page, acts, method, picture):
    acts.pick(page, "Score", "likeness of picture with text and target (similarity; needs a target)")
    page.get_by_role("button", name="Show where it looks").click()
    acts.told(page, "score 'similarity' needs a target embedding")
    page.get_by_role("button", name="Target picture (optional)").click()
    page.locator(".image-container").nth(1).wait_for()
    acts.upload(page, "goal.png", acts.written(picture), place=1)
    before = acts.pixels(page)
    shown, code = method()
    assert shown != before
    assert "score='similarity'" in code
    assert page.locator("#maps .quiet").first.inner_text().startswith("similarity = ")
    acts.counted(page, "p[role=alert]", 0)


@pytest.mark.filterwarnings("ignore:the map is empty")  # clothing knows no triangle
def test_model(page, acts, method):
    assert "model='reference'" in acts.code(page)
    pick_model(page, acts, "reference")
    acts.pick(page, "Layer", "network.visual.layer3 (6 x 6)")
    pick_model(page, acts, "clothing")
    page.wait_for_function('(box) => box.value === "the model\'s own"', arg=page.get_by_label("Layer").element_handle())
    before = acts.pixels(page)
    shown, code = method()
    assert shown != before
    assert "model='clothing'" in code
    assert "layer=" not in code
    assert "unlike what the model was trained on" in page.locator("#maps .notes").inner_text()


def test_phrases_and_words(page, acts, method):
    page.get_by_label("Each phrase by itself").check()
    page.get_by_label("Shade the words by what they contribute").uncheck()
    acts.ask(page, "make the ring blue\nremove the square")
    acts.told(page, "phrases belong to one sentence: leave one line")
    acts.ask(page, "make the red square left of the ring blue")
    acts.explained(page, "make the red square left of the ring blue", "the red square", "left of the ring blue")
    acts.counted(page, "#maps .word", 0)
    assert "phrase_maps(" in acts.code(page)
