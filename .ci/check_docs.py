"""What a build of the documentation must hold: a picture and a notebook for every tutorial, an entry for every name.

Usage: ``python .ci/check_docs.py FOLDER``, the folder that ``sphinx -b html`` wrote.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from sphinx.util.inventory import InventoryFile

import mmgrad_explain

ROOT = Path(__file__).parents[1]


def problems(site: Path) -> list[str]:
    """What is missing."""
    found = []
    for example in sorted((ROOT / "examples").glob("plot_*.py")):
        page = (site / "auto_examples" / f"{example.stem}.html").read_text(encoding="utf-8")
        pictures = set(re.findall(rf"_images/(sphx_glr_{example.stem}_\d+\.\w+)", page))
        if not pictures or not all((site / "_images" / name).is_file() for name in pictures):
            found.append(f"{example.name}: no picture on its page")
        notebooks = list((site / "_downloads").rglob(f"{example.stem}.ipynb"))
        if not notebooks:
            found.append(f"{example.name}: no notebook")
        for notebook in notebooks:
            nbformat.validate(nbformat.read(notebook, as_version=4))
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda _, name: name)
    entries = {name.rpartition(".")[2] for kind in inventory for name in inventory[kind] if kind.startswith("py:")}
    found += [f"{name}: no entry" for name in mmgrad_explain.__all__ if name not in entries and name != "__version__"]
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]))
    print("\n".join(wrong) or "every tutorial has its pictures and its notebook, every name its entry")
    raise SystemExit(bool(wrong))
