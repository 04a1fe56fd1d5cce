"""Views of the images in a folder."""

from PIL import Image

from mmgrad_explain.training.familiarity_views import VIEWS, list_images, make_views


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
