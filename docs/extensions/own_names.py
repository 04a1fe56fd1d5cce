"""References to this package's names as docstrings write them: by the path one imports, or by the last part alone."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def entry_of(target: str, names: Iterable[str]) -> str | None:
    """The one entry of the reference that is meant.

    Args:
        target: ``mmgrad_explain.attention.Explanation``, which is at home one module further down, or ``Explanation``.
        names: All entries, by their full names.

    Returns:
        Its full name; None where there is none, or several end so.
    """
    if target.startswith("mmgrad_explain."):
        try:
            value = pkgutil.resolve_name(target)
        except (ImportError, AttributeError):
            return None
        home = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        return home if home in names else None
    found = [name for name in names if name.endswith(f".{target}")]
    return found[0] if len(found) == 1 else None


class Names:
    """The entries that references of a build were found to mean; most are met many times."""

    def __init__(self) -> None:
        self.found: dict[str, str | None] = {}

    def resolve(
        self, app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
    ) -> nodes.reference | None:
        """A link for a reference that Sphinx itself did not find; None leaves it missing, which is a warning."""
        if node.get("refdomain") != "py":
            return None
        objects, target = env.domains.python_domain.objects, node["reftarget"]
        if target not in self.found:
            # a module and what is in it may have one name: what is in it is meant
            inside = [name for name, entry in objects.items() if entry.objtype != "module"]
            self.found[target] = entry_of(target, inside) or entry_of(target, objects)
        name = self.found[target]
        if name is None:
            return None
        return make_refnode(app.builder, node["refdoc"], objects[name].docname, objects[name].node_id, content, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Ask here last, once all pages are read."""
    app.connect("missing-reference", Names().resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
