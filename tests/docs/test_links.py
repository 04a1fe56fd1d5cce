"""Every link of README, CONTRIBUTING, documentation and examples leads to a file or a heading that is there.

Pages are read as GitHub and MyST both read them: links are relative to the page, headings' anchors are their words in
lower case, joined by hyphens. Whether other sites answer is for ``sphinx -b linkcheck``, which needs a network.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    + [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    + list((ROOT / "src" / "mmgrad_explain" / "models").rglob("README.md"))
)
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)
GENERATED = "auto_examples"  # made of the examples at the build


def prose(text):
    """A page without its code; code within a line is an x."""
    return re.sub(r"`[^`\n]*`", "x", FENCE.sub("", text))


def links_of(text):
    """Targets of links and pictures, and addresses in angle brackets."""
    plain = prose(text)
    return [*re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", plain), *re.findall(r"<(https?://[^>\s]+)>", plain)]


def anchor(heading):
    """A heading's anchor, as GitHub and MyST make it."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(path):
    """Anchors of a page's headings, those of pages that it includes as well; of equal ones the second gets ``-1``."""
    text = path.read_text(encoding="utf-8")
    found = []
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", FENCE.sub("", text), re.MULTILINE):
        name = anchor(heading)
        found.append(name if name not in found else f"{name}-{found.count(name)}")
    for other in INCLUDE.findall(text):
        found += anchors((path.parent / other).resolve())
    return found


def wrong_in(path, text):
    """The links of a text at that place which lead nowhere."""
    for link in links_of(text):
        parts = urlsplit(link)
        if parts.scheme:
            if parts.scheme not in ("https", "mailto") or (parts.scheme == "https" and "." not in parts.netloc):
                yield f"{link}: not https, or no host"
            continue
        target = (path.parent / parts.path).resolve() if parts.path else path
        if GENERATED in Path(parts.path).parts:
            name = re.sub(r"^sphx_glr_|(_\d{3}|_thumb)?(\.\w+)?$", "", target.name)
            if name != "index" and not (ROOT / "examples" / f"{name}.py").is_file():
                yield f"{link}: no such example"
        elif not target.exists() or not target.is_relative_to(ROOT):
            yield f"{link}: no such file"
        elif parts.fragment and parts.fragment not in anchors(target):
            yield f"{link}: no such heading among {anchors(target)}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path):
    assert list(wrong_in(path, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_links_of_an_example_are_well_formed(path):
    links = re.findall(r"\w+://[^\s>`)\"']+", path.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") or "." not in urlsplit(link).netloc] == []


def test_enough_is_looked_at():
    links = [link for path in PAGES for link in links_of(path.read_text(encoding="utf-8"))]
    assert len(PAGES) > 20
    assert sum(not urlsplit(link).scheme for link in links) > 60
    assert sum("#" in link for link in links) > 2
    assert sum(link.startswith("https://arxiv.org/abs/") for link in links) > 20


def test_a_wrong_link_is_noticed():
    page = ROOT / "docs" / "method.md"
    text = """
        [a](nowhere.md) [b](method.md#no-such-heading) [c](http://example.org/) [d](https://nohost) [`e`](../missing.py)
        ![f](auto_examples/images/sphx_glr_plot_missing_001.png) [g](#scores) [h](running.md) [i](../README.md#try-it)
        `[j](code.md)` [k](../../../outside.md) [l](https://example.org/)
        """
    assert [wrong.split(":")[0] for wrong in wrong_in(page, text) if not wrong.startswith("http")] == [
        "nowhere.md", "method.md#no-such-heading", "../missing.py",
        "auto_examples/images/sphx_glr_plot_missing_001.png", "../../../outside.md",
    ]  # fmt: skip
    assert sum(wrong.startswith("http") for wrong in wrong_in(page, text)) == 2


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("In a training step", "in-a-training-step"),
        ("What is found by itself, and when it asks", "what-is-found-by-itself-and-when-it-asks"),
        ("`layout=` and [cells](x.md)", "layout-and-cells"),
        ("A. B – c", "a-b--c"),
    ],
)
def test_anchors_are_github_s(heading, expected):
    assert anchor(heading) == expected
