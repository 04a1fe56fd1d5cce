"""The names that the command line knows without torch are the library's."""


def test_the_commands_names_are_the_librarys():
    from mmgrad_explain.attention import METHODS, SCORES
    from mmgrad_explain.attention.word_values import WORD_WAYS
    from mmgrad_explain.cli import known_names as names
    from mmgrad_explain.cli.commands.overlay import command as overlay
    from mmgrad_explain.composers.published import PUBLISHED
    from mmgrad_explain.images.colormaps import COLORMAPS

    assert set(names.SCORES) == set(SCORES)
    assert set(names.METHODS) == set(METHODS)
    assert names.WORD_WAYS == WORD_WAYS
    assert set(names.COLORMAPS) == set(COLORMAPS)
    assert names.PUBLISHED == PUBLISHED
    for name in (*SCORES, *METHODS):
        assert name in overlay._DETAILS


def test_layers_are_read_off_the_weights():
    from mmgrad_explain.cli.known_names import bundled_layers

    assert bundled_layers("reference") == (
        "network.visual.layer1", "network.visual.layer2", "network.visual.layer3",
        "network.visual[0]", "network.visual[1]", "network.visual[2]", "network.neck", "network.features",
    )  # fmt: skip
    assert bundled_layers("./my-model") == ()
