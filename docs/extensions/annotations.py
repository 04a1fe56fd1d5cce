"""How autodoc reads this package's annotations.

Names that annotations use are often imported for type checkers alone. Here they are imported for the reference as well:
without this, autodoc reads ``Sequence[Explanation]`` as words, and none of them leads anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import typing
from typing import TYPE_CHECKING

from sphinx.domains.python import PyObject

import mmgrad_explain

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx.application import Sphinx

COMMANDS = {"cli", "web", "__main__"}  # these are typed, not imported, and have no entries


def import_for_types(module: ModuleType) -> None:
    """Run the imports below a module's ``if TYPE_CHECKING:``; those of packages that are not installed are left out."""
    for block in ast.parse(inspect.getsource(module)).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for statement in block.body:
                code = compile(ast.Module([statement], []), str(module.__file__), "exec")
                with contextlib.suppress(ImportError):
                    exec(code, vars(module))  # noqa: S102  (the package's own lines)


def complete_classes(module: ModuleType) -> None:
    """Put into a class what its own ``__init__`` says: types in the place of their names, and the arguments' text."""
    for value in list(vars(module).values()):
        if inspect.isclass(value) and value.__module__ == module.__name__ and "__init__" in vars(value):
            constructor = value.__init__
            with contextlib.suppress(NameError):
                constructor.__annotations__ = typing.get_type_hints(constructor)
            value.__doc__ = "\n\n".join(inspect.cleandoc(text) for text in (value.__doc__, constructor.__doc__) if text)


def _import_all(_: Sphinx) -> None:
    names = [found.name for found in pkgutil.walk_packages(mmgrad_explain.__path__, "mmgrad_explain.")]
    modules = [importlib.import_module(name) for name in names if name.split(".")[1] not in COMMANDS]
    for module in modules * 2:  # what one imports may be another's name for type checkers alone
        import_for_types(module)
    for module in modules:
        complete_classes(module)


EMPTY_COMMENT = ["..", ""]


def keep_colons(_app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Let the first sentence of an attribute's docstring have a colon: napoleon takes what is before it for a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = EMPTY_COMMENT


def drop_comment(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Remove the comment again, because tables show what comes first."""
    if lines[:2] == EMPTY_COMMENT:
        del lines[:2]


def setup(app: Sphinx) -> dict[str, bool]:
    """Import before the first page is read; handle docstrings before and after napoleon, which has priority 500."""
    app.connect("builder-inited", _import_all)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as the docstrings' own heading; Sphinx says "Variables"
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", drop_comment, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
