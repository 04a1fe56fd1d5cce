"""What the tests of files, devices and the terminal share."""

import pytest


@pytest.fixture
def plain_environment(monkeypatch):
    """A terminal of 100 columns with colours, whatever the tests were started from."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
