"""``mmgrad-explain data`` alone."""


def test_a_group_alone_lists_its_commands(run):
    code, out, err = run("data")
    assert (code, err) == (0, "")
    assert all(name in out for name in ("edits", "scenes", "check"))
