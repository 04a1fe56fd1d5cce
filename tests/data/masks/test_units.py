"""What masks are made for."""

from cir_miniatures import draw_images, draw_product, write_fashioniq, write_jsonl

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.masks.units import list_units


def test_each_caption_of_a_query_with_a_target_is_a_unit(tmp_path):
    data = read_cir("fashioniq", write_fashioniq(tmp_path), ["train", "test"])
    first, second, *_ = units = list_units(data, "dress.train")
    assert [unit.text for unit in units] == ["is solid white", "is a lighter color", "Has longer sleeves.", "is Red"]
    assert (first.subject, first.names[0], first.reference) == ("dress", "Bdresstrain0", second.reference)
    assert list_units(data, "dress.test") == []
    assert list_units(data, "toptee.train")[0].subject == "top"


def test_the_key_follows_images_and_text(tmp_path):
    draw_images("jsonl", write_jsonl(tmp_path))
    first = list_units(read_cir("jsonl", tmp_path), "all")
    draw_product("another image of b").resize((7, 7)).save(tmp_path / "b.jpg")
    second = list_units(read_cir("jsonl", tmp_path), "all")
    assert first == second
    (tmp_path / "c.png").unlink()
    third = list_units(read_cir("jsonl", tmp_path), "all")
    assert third[1].target is None
    assert third[1].key() != second[1].key()
    assert len({unit.key() for unit in third}) == 3
