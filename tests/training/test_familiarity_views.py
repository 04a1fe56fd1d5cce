"""Views of the images in a folder."""

from PIL import Image

from mmgrad_explain.training.familiarity_views import FRAMINGS, VIEWS, add_bars, cut, list_images, make_views


def test_a_large_folder_is_halved_by_the_names_of_its_files(tmp_path):
    for number in range(110):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    used, kept = (list_images(tmp_path, held_out=half) for half in (False, True))
    assert len(used) + len(kept) == 110
    assert not set(used) & set(kept)
    assert 30 < len(kept) < 80
    assert len(list_images(tmp_path, without=[path.stem for path in used[:9]])) == len(used) - 9


def test_views_are_of_every_kind_and_the_same_each_time(strange):
    files = list_images(strange)
    first, second = (list(make_views(files, 40, 5)) for _ in range(2))
    assert [kind for kind, _ in first] == [kind for kind, _ in second]
    assert {kind for kind, _ in first} == set(VIEWS)
    assert all(one.tobytes() == other.tobytes() for (_, one), (_, other) in zip(first, second, strict=True))
    assert first[1][1].tobytes() != list(make_views(files, 2, 6))[1][1].tobytes()
    assert {kind for kind, _ in make_views(files, 9, 5, ("whole", "grey"))} == {"whole", "grey"}


def test_parts_of_other_shapes():
    """A picture whose columns count up is cut where it is asked for."""
    ramp = Image.linear_gradient("L").rotate(90).resize((200, 300)).convert("RGB")  # darker to the left
    assert cut(ramp, 1).size == (200, 200)
    assert cut(ramp, 2).size == (200, 100)
    assert cut(ramp, 1 / 3).size == (100, 300)
    left, right = (cut(ramp, 1 / 3, 0.5, (place, 0)) for place in (0, 1))
    assert left.size == right.size == (50, 150)
    assert left.getpixel((49, 0))[0] < 75
    assert right.getpixel((0, 0))[0] > 180


def test_bars_keep_the_whole_image():
    white = Image.new("RGB", (200, 300), "white")
    wide, tall = add_bars(white, 1, 90), add_bars(white, 1 / 2)
    assert (wide.size, tall.size) == ((300, 300), (200, 400))
    assert [wide.getpixel((x, 150))[0] for x in (0, 49, 50, 249, 250)] == [90, 90, 255, 255, 90]
    assert [tall.getpixel((100, y))[0] for y in (0, 49, 50, 349, 350)] == [0, 0, 255, 255, 0]


def test_framings_are_named_by_their_shapes():
    shapes = {name: frame(Image.new("RGB", (200, 300))) for name, frame in FRAMINGS.items()}
    ratios = {name: round(image.width / image.height, 2) for name, image in shapes.items()}
    assert {ratios[name] for name in ratios if "square" in name} == {1.0}
    assert (ratios["whole"], ratios["mirrored"], ratios["zoomed, upper"]) == (0.67, 0.67, 0.67)
    assert (ratios["4:3, upper"], ratios["3:4"], ratios["1:2"], ratios["bars, 16:9"]) == (1.33, 0.75, 0.5, 1.78)


def test_framed_views_have_many_shapes(tmp_path):
    Image.new("RGB", (200, 300), "white").save(tmp_path / "1.png")
    shown = [image for _, image in make_views(list_images(tmp_path), 80, 3, ("framed",))]
    ratios = sorted(image.width / image.height for image in shown)
    assert ratios[0] < 0.6
    assert ratios[-1] > 1.5
    assert 10 < sum(min(image.convert("L").getextrema()) < 255 for image in shown) < 35  # with bars
