"""The page as a whole: its tabs, its first answer, its style."""

from mmgrad_explain.web.examples import draw_examples
from mmgrad_explain.web.gallery_search import GallerySearch
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models
from mmgrad_explain.web.page import TITLE, build_page, style_options
from mmgrad_explain.web.search_history import SearchHistory


def test_with_a_model_of_clothes_the_page_is_about_clothes(tmp_path):
    """Its examples, the first answer, the example gallery and the code beside a search."""
    first = draw_examples("figures")[0]
    first.image.save(tmp_path / "example.png")
    chosen = Models(("clothing",))
    with GallerySearch(chosen, pixels=Limits().pixels) as made:
        blocks = build_page(chosen, made, Limits(), gallery="example pictures")
        shown = [one["props"] for one in blocks.config["components"] if one["props"].get("elem_id") == "maps"]
        assert shown[0]["value"]["tiles"][0]["title"] == first.text
        assert "; model clothing" in shown[0]["value"]["tiles"][0]["caption"]
        content = (tmp_path / "example.png").read_bytes()
        _, found = made.search(SearchHistory(), first.text, 2, content=content, name="example picture")
        assert made.gallery().composer.name == "clothing"
        assert all(hit["file"].startswith("figure-") for hit in found["data"]["hits"])
        assert "write_example_images(f\"{folder}/pictures\", 'figures')" in found["snippet"]
        assert "\"{folder}/examples.db\", 'clothing', create=True" in found["snippet"]
