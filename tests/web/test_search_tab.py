"""What the tab that searches does with what a visitor gives, without a server."""

import gradio as gr
import pytest

from mmgrad_explain.web.gallery_search import GallerySearch
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models
from mmgrad_explain.web.search_history import SearchHistory
from mmgrad_explain.web.search_tab import add_search_tab


@pytest.fixture(scope="module")
def handlers():
    """The functions of the tab by their names; the last of their values is the line of an error."""
    with GallerySearch(Models(), pixels=Limits().pixels) as searches:
        with gr.Blocks() as blocks:
            add_search_tab(searches, Limits(), "example pictures")
        yield {one.api_name: one.fn for one in blocks.fns.values()}


@pytest.fixture
def upload(picture_file):
    return {"path": str(picture_file), "orig_name": "mine.png"}


@pytest.mark.parametrize(("count", "found"), [(2, 2), (99, 12), (-1, 1), ("x", 1), (None, 1)])
def test_the_number_of_hits_is_kept_in_bounds(handlers, upload, count, found):
    shown, history, steps, said = handlers["search"](upload, "make it red", count, SearchHistory(), "", "")
    assert said == ""
    assert len(shown["tiles"]) == found + 1
    assert len(history.steps[0].hits) == found
    assert "mine.png: <q>make it red</q>" in steps


def test_searches_that_cannot_be_made(handlers, upload):
    def said(picture, text, layer=""):
        *kept, line = handlers["search"](picture, text, 3, SearchHistory(), layer, "")
        assert kept == [gr.skip()] * 3
        return line

    assert "there is no reference yet" in said(None, "make it red")
    assert "the sentence is empty" in said(upload, "")
    assert "network.none" in said(upload, "make it red", "network.none")
    assert "this could not be done" in said(upload, "make it red", [{}])
