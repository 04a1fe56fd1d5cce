"""A gallery of one's own in the page, in a real browser: searched, and its pictures taken away meanwhile."""

import shutil

from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.web.examples import write_example_images
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.server import running


def test_it_is_searched_until_its_pictures_are_gone(acts, context, tiny_folder, tmp_path):
    write_example_images(tmp_path / "pictures")
    with Gallery(tmp_path / "mine.db", tiny_folder, create=True) as gallery:
        gallery.index([tmp_path / "pictures"])
    with running(Limits(), gallery=str(tmp_path / "mine.db")) as address:
        page = acts.open_page(context, address)
        page.get_by_role("tab", name="Search a gallery").click()
        page.get_by_text("Looks in your gallery for what a sentence makes of a picture.").wait_for()
        page.locator(".mmgrad-examples button:visible").first.click()
        page.locator("#hits .tile").nth(6).wait_for()
        shutil.rmtree(tmp_path / "pictures")
        page.get_by_role("button", name="Use as the next reference").first.click()
        acts.told(page, "hit 1 cannot be read any more: index its folder again")
        page.get_by_role("button", name="Search", exact=True).click()
        page.locator("#hits .notes li").filter(has_text="of the hits, 6 are gone").wait_for()
        assert page.locator("#hits .tile").count() == 1
        page.close()
