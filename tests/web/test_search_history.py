"""The steps of a search: on from a hit, and back."""

import re
from dataclasses import replace

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.gallery import Hit
from mmgrad_explain.web.search_history import SearchHistory, SearchStep


def hit(rank, path="/p/a.png", state="there"):
    return Hit(rank, path, 0.5, "ab", state=state)


def test_a_search_goes_on_and_back():
    first = SearchStep("make it red", None, "mine.png", b"x", (hit(1), hit(2, "/p/b.png"), hit(3, state="gone")))
    history = SearchHistory((first,))
    assert (history.reference, history.before) == (None, ())
    chosen = replace(history, chosen=history.find_hit(2))
    assert (chosen.reference.path, chosen.before) == ("/p/b.png", (first,))
    second = SearchStep("and blue", chosen.reference, "b.png", hits=(hit(1),))
    on = SearchHistory((*chosen.before, second))
    assert (on.reference, on.before) == (chosen.reference, (first,))  # asking again takes the last turn's place
    assert (first.rank, second.rank) == (None, 2)
    assert replace(on, chosen=hit(1)).go_back() == on
    assert on.go_back() == history
    for nothing in (history, SearchHistory()):
        with pytest.raises(InputError, match="there is no search before this one"):
            nothing.go_back()


@pytest.mark.parametrize("rank", [0, 3, 4, "1", None, [1], "/etc/passwd"])
def test_no_other_hits(rank):
    history = SearchHistory((SearchStep("x", None, "a", b"", (hit(1), hit(2), hit(3, state="gone"))),))
    for one in (history, SearchHistory()):
        with pytest.raises(InputError, match=re.escape(f"there is no hit {rank} to go on with: search again")):
            one.find_hit(rank)


def test_a_history_as_html():
    assert SearchHistory().as_html() == ""
    turn = SearchStep("<i>red</i>", None, "<b>.png", b"", (hit(1, "/p/<u>.png"),))
    shown = SearchHistory((turn,), turn.hits[0]).as_html()
    assert "<li>&lt;b&gt;.png: <q>&lt;i&gt;red&lt;/i&gt;</q></li>" in shown
    assert "<li>hit 1, &lt;u&gt;.png: <em>and now?</em></li>" in shown
