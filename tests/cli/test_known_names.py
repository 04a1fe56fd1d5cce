"""The names that the command line knows without torch are the library's."""


def test_the_commands_names_are_the_librarys():
    from mmgrad_explain.attention import METHODS, SCORES
    from mmgrad_explain.attention.word_values import WORD_WAYS
    from mmgrad_explain.cli import known_names as names
    from mmgrad_explain.cli.commands.overlay import command as overlay
    from mmgrad_explain.composers.load import BUNDLED
    from mmgrad_explain.images.colormaps import COLORMAPS

    assert set(names.SCORES) == set(SCORES)
    assert set(names.METHODS) == set(METHODS)
    assert names.WORD_WAYS == WORD_WAYS
    assert set(names.COLORMAPS) == set(COLORMAPS)
    assert set(names.LAYERS) == set(BUNDLED)
    for name in (*SCORES, *METHODS):
        assert name in overlay._DETAILS
