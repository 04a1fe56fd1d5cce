"""Sessions on disk."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.session import Session, SessionHit, SessionTurn


def session():
    hits = (SessionHit(1, "/p/é.png", 0.5, "ab"), SessionHit(2, "/p/b.png", 0.25, "cd"))
    return Session("/g.db", "mmgrad_gallery", "0123", [SessionTurn("/p/q.png", "make it red", hits, None)])


def test_a_saved_session_is_loaded_equal(tmp_path):
    file = tmp_path / "new" / "s.json"
    session().save(file)
    assert Session.load(file) == session()
    again = Session.load(file)
    again.turns.append(SessionTurn("/p/b.png", "and blue", (), 2))
    again.save(file)
    assert Session.load(file).turns[1] == SessionTurn("/p/b.png", "and blue", (), 2)
    assert "é" in file.read_text(encoding="utf-8")
    assert list(file.parent.iterdir()) == [file]


def test_a_hit():
    assert session().hit(2).path == "/p/b.png"
    with pytest.raises(InputError, match="there is no hit 3: the last turn found 2"):
        session().hit(3)
    with pytest.raises(InputError, match="there is no hit 1: the last turn found 0"):
        Session("/g.db", "c", "0").hit(1)
    session().check_unchanged(1, "ab")
    with pytest.raises(InputError, match=r"hit 1, /p/é\.png, has changed since it was found"):
        session().check_unchanged(1, "ac")


def test_another_gallery():
    session().check("/g.db", "mmgrad_gallery", "0123")
    for other in (("/h.db", "mmgrad_gallery", "0123"), ("/g.db", "more", "0123"), ("/g.db", "mmgrad_gallery", "9")):
        with pytest.raises(
            InputError, match=r"the session is of gallery /g\.db, mmgrad_gallery, by model 0123, not of"
        ):
            session().check(*other)


def test_other_files_are_not_sessions(tmp_path):
    file = tmp_path / "s.json"
    with pytest.raises(InputError, match=r"there is no session .*: begin one with an image"):
        Session.load(file)
    file.write_text("{")
    with pytest.raises(InputError, match=r"session .* cannot be read: "):
        Session.load(file)
    for content in (
        "[]",
        "3",
        '{"turns": []}',
        '{"turns": [{}], "gallery": "g", "collection": "c", "fingerprint": "f"}',
    ):
        file.write_text(content)
        with pytest.raises(InputError, match="is no session of this package: name another file"):
            Session.load(file)
    file.write_text('{"turns": [], "gallery": "g", "collection": "c", "fingerprint": "f", "format": "other/9"}')
    with pytest.raises(InputError, match="is of another version of this package"):
        Session.load(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rank": 1', '"rank": "1"'), ('"score": 0.5', '"score": null'), ('"path": "/p/b.png"', '"path": [1]'),
        ('"from_hit": null', '"from_hit": {}'), ('"text": "make it red"', '"text": 3'),
        ('"gallery": "/g.db"', '"gallery": 3'),
        ('"fingerprint": "0123"', '"fingerprint": []'), ('"reference": "/p/q.png"', '"reference": null'),
    ],
)  # fmt: skip
def test_fields_of_another_kind(tmp_path, old, new):
    file = tmp_path / "s.json"
    session().save(file)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match="is no session of this package: name another file"):
        Session.load(file)


def test_a_session_that_is_nested_too_deeply(tmp_path):
    (tmp_path / "s.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"session .* cannot be read: it is nested too deeply"):
        Session.load(tmp_path / "s.json")
