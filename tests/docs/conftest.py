"""What tests of the documentation share."""

import re
from pathlib import Path

import pytest

from mmgrad_explain.errors import MMGradError

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.fixture(scope="session")
def page():
    """The troubleshooting page."""
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def entries(page):
    """The messages that it quotes: code alone in a line, and an answer below."""
    return re.findall(r"^`([^`\n]+)`\n: ", page, re.MULTILINE)


@pytest.fixture
def provoke(entries, tmp_path, monkeypatch):
    """Have something refused in an empty folder, and compare what is said with what the page quotes."""
    monkeypatch.chdir(tmp_path)

    def check(quoted, call):
        assert quoted in entries
        with pytest.raises((MMGradError, TypeError)) as raised:
            call()
        said = "\n".join(" ".join(line.split()) for line in str(raised.value).splitlines())
        pattern = ".*".join(map(re.escape, re.split("…+", quoted)))
        assert re.search(f"^(layer \\S+: )?{pattern}$", said, re.MULTILINE), said

    return check
