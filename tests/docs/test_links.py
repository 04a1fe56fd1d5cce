"""Every link of README, CONTRIBUTING, documentation and examples leads to a file or a heading that is there.

Pages are read as GitHub and MyST both read them: links are relative to the page, headings' anchors are their words in
lower case, joined by hyphens. Addresses of other sites, also those in the code, are held to be ones that can be right:
https, a known host, papers by a well-formed number. Whether they answer is for ``sphinx -b linkcheck``, which needs a
network.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    + [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    + list((ROOT / "src" / "mmgrad_explain" / "weights").rglob("README.md"))
)
FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)
SOURCES = sorted(
    path
    for folder in ("src", "examples", "benchmarks", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if not {"_build", "auto_examples", "conf.py"} & set(path.parts)  # conf.py has patterns
)
HOSTS = {"arxiv.org", "doi.org", "keepachangelog.com", "milvus.io", "patents.google.com", "semver.org"}
HERE = re.compile(r"http://(127\.0\.0\.1|host:(port|19530)|\{|\.\.\.)")  # this machine, and what stands for an address
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


def wrong_addresses(text):
    """Addresses of a text, in prose or code, that cannot be right; arXiv numbers as well."""
    for address in re.findall(r"\bhttps?://[^\s>`)\"'\]]+", text):
        parts = urlsplit(address.rstrip(".,;:"))
        if HERE.match(address):
            continue
        if parts.scheme != "https" or parts.netloc not in HOSTS:
            yield f"{address}: not https, or no known host"
        elif parts.netloc == "arxiv.org" and not re.fullmatch(r"/abs/\d{4}\.\d{5}|/abs/\d{4}\.\d{4}", parts.path):
            yield f"{address}: no abstract"
    for year, month, number in re.findall(r"(?i)arxiv(?:\.org/abs/|[: ] ?)(\d\d)(\d\d)\.(\d+)", text):
        if not 1 <= int(month) <= 12 or len(number) != (4 if int(year) < 15 else 5):
            yield f"{year}{month}.{number}: no arXiv number"


def wrong_in(path, text):
    """The links of a text at that place which lead nowhere."""
    for link in links_of(text):
        parts = urlsplit(link)
        if parts.scheme:
            continue  # wrong_addresses looks at these
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


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_addresses_can_be_right(path):
    assert list(wrong_addresses(path.read_text(encoding="utf-8"))) == []


def test_enough_is_looked_at():
    links = [link for path in PAGES for link in links_of(path.read_text(encoding="utf-8"))]
    assert len(PAGES) > 20
    assert sum("arXiv" in path.read_text(encoding="utf-8") for path in SOURCES) > 20
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
    assert [wrong.split(":")[0] for wrong in wrong_in(page, text)] == [
        "nowhere.md", "method.md#no-such-heading", "../missing.py",
        "auto_examples/images/sphx_glr_plot_missing_001.png", "../../../outside.md",
    ]  # fmt: skip


def test_a_wrong_address_is_noticed():
    right = "http://127.0.0.1:7860/, (https://arxiv.org/abs/1706.03762), `https://doi.org/10.1/x`, arXiv 1312.6034."
    assert list(wrong_addresses(right)) == []
    wrong = [
        "http://arxiv.org/abs/1706.03762",
        "https://arxvi.org/abs/1706.03762",
        "https://nohost",
        "arXiv 1713.03762",
    ]
    wrong += ["https://arxiv.org/pdf/1706.03762", "arXiv:1706.0376", "https://arxiv.org/abs/2399.12345"]
    for text in wrong:
        assert len(list(wrong_addresses(text))) == 1, text


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
