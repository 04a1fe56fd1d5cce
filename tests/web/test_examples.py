"""Example pictures and the code that draws them."""

from PIL import Image

from mmgrad_explain.web.examples import code_for, examples, write_pictures


def test_each_has_code():
    assert len({one.text for one in examples()}) == len(examples()) == 4
    for one in examples():
        for picture in (one.picture, one.target):
            assert picture.size == (320, 320)
            code = code_for(picture)
            names = {}
            exec("\n".join(code.imports), names)
            drawn = eval(code.text, names)
            assert Image.fromarray(drawn).tobytes() == picture.tobytes()
    assert examples()[0].picture.tobytes() != examples()[0].target.tobytes()


def test_no_other_picture_has(picture):
    assert code_for(picture) is None
    other = examples()[0].picture.copy()
    other.putpixel((0, 0), (1, 2, 3))
    assert code_for(other) is None


def test_the_gallery(tmp_path):
    files = write_pictures(tmp_path / "new" / "pictures")
    assert len(files) == len(set(files)) == 20
    pictures = {Image.open(file).tobytes() for file in files}
    assert len(pictures) == 20
    assert all(one.target.tobytes() in pictures for one in examples())
    assert not any(one.picture.tobytes() in pictures for one in examples())
    assert [file.name for file in write_pictures(tmp_path / "new" / "pictures")] == [file.name for file in files]
