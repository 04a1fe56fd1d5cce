"""Links to Markdown files outside ``docs/``, which are pages here under another name.

Links to other files of the repository need nothing: MyST makes downloads of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {
    "README": "index",
    "CONTRIBUTING": "contributing",
    "CHANGELOG": "changelog",
    "src/mmgrad_explain/weights/reference/README": "bundled",
    "src/mmgrad_explain/weights/clothing/README": "bundled",
    "src/mmgrad_explain/weights/everyday/README": "bundled",
}


def rename(_app: Sphinx, doctree: nodes.document) -> None:
    """Point such links at the pages; MyST has made absolute paths of them, without their suffix."""
    for node in doctree.findall(pending_xref):
        page = PAGES.get(str(node["reftarget"]).removeprefix(f"{ROOT.as_posix()}/"))
        if node.get("refdomain") == "doc" and page is not None:
            node["reftarget"] = page


def setup(app: Sphinx) -> dict[str, bool]:
    """Rename before MyST looks for the pages."""
    app.connect("doctree-read", rename)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
