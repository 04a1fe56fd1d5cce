"""Pages of source code get the menu that was made for the first of them.

They stand in no menu themselves, so that the menus of two in one folder are the same to the letter. To make one takes
as long as to highlight a module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from docutils import nodes
    from sphinx.application import Sphinx

FOLDER = "_modules/"


class Menus:
    """The menus of a build, by how deep a page lies and by what a theme asks for."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, ...], str] = {}

    def share(
        self, _app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: nodes.document | None
    ) -> None:
        """Give a page of source code the menu of another page at the same depth."""
        if page.startswith(FOLDER) and "toctree" in context:
            context["toctree"] = self._remembering(context["toctree"], page.count("/"))

    def _remembering(self, make: Callable[..., str], depth: int) -> Callable[..., str]:
        def menu(**options: Any) -> str:
            key = (depth, *sorted(options.items()))
            if key not in self.made:
                self.made[key] = make(**options)
            return self.made[key]

        return menu


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before the theme, which makes the menu."""
    app.connect("html-page-context", Menus().share, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
