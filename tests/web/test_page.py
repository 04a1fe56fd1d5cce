"""The page as a whole: its tabs, its examples, its style."""

import pytest

from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.gallery_search import GallerySearch
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models
from mmgrad_explain.web.page import TITLE, build_page, style_options
from mmgrad_explain.web.search_history import SearchHistory


@pytest.fixture(scope="module")
def clothes():
    """A page that starts with the model of clothes, and the search in its gallery."""
    models = Models(("clothing",))
    with GallerySearch(models, pixels=Limits().pixels) as searches:
        yield build_page(models, searches, Limits(), gallery="example pictures"), searches


def test_it_publishes_nothing_and_fetches_nothing(clothes):
    config = clothes[0].config
    assert config["title"] == TITLE
    assert config["analytics_enabled"] is False
    assert {one["api_visibility"] for one in config["dependencies"]} == {"private"}
    tabs = [one["props"]["label"] for one in config["components"] if one["type"] == "tabitem"]
    assert tabs == ["Explain", "Search a gallery"]
    style = style_options()
    assert ".mmgrad-alert" in style["css"]
    assert "http" not in style["css"] + "".join(style["theme"]._font_css)


def test_with_a_model_of_clothes_the_page_is_about_clothes(clothes, tmp_path):
    """Its examples, the first answer, the example gallery and the code beside a search."""
    blocks, searches = clothes
    first = draw_examples("figures")[0]
    first.image.save(tmp_path / "example.png")
    shown = [one["props"] for one in blocks.config["components"] if one["props"].get("elem_id") == "maps"]
    assert shown[0]["value"]["tiles"][0]["title"] == first.text
    assert "; model clothing" in shown[0]["value"]["tiles"][0]["caption"]
    content = (tmp_path / "example.png").read_bytes()
    _, found = searches.search(SearchHistory(), first.text, 2, content=content, name="example picture")
    assert searches.gallery().composer.name == "clothing"
    assert all(hit["file"].startswith("figure-") for hit in found["data"]["hits"])
    assert "write_example_images(f\"{folder}/pictures\", 'figures')" in found["snippet"]
    assert "\"{folder}/examples.db\", 'clothing', create=True" in found["snippet"]
