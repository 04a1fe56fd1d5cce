"""The tutorials as notebooks, and the how-to page on notebooks, in a real kernel."""

import ast
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image
from sphinx_gallery import gen_gallery, notebook, py_source_parser

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def converted(path):
    """What the docs offer for download."""
    _, blocks = py_source_parser.split_code_and_text_blocks(str(path))
    made = notebook.jupyter_notebook(blocks, gen_gallery.DEFAULT_GALLERY_CONF, str(path.parent))
    return nbformat.reads(json.dumps(made), as_version=4)


def executed(book, folder):
    client = NotebookClient(book, kernel_name="python3", timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_tutorial_converts(path):
    book = converted(path)
    nbformat.validate(book)
    kinds = [cell.cell_type for cell in book.cells]
    assert kinds.count("code") >= 2
    assert kinds.count("markdown") >= 2
    for cell in book.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)


def test_a_tutorial_runs_as_a_notebook(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    outputs = executed(converted(tmp_path / "examples" / "plot_reference_model.py"), tmp_path / "examples")
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)


def test_the_page_on_notebooks(tmp_path):
    page = (ROOT / "docs" / "how-to" / "notebooks.md").read_text(encoding="utf-8")
    cells = [nbformat.v4.new_code_cell(code) for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    shutil.copy(ROOT / "examples" / "query.jpg", tmp_path)
    outputs = executed(nbformat.v4.new_notebook(cells=cells), tmp_path)
    data = [output.data for output in outputs if "data" in output]
    assert any({"text/html", "image/png"} <= set(one) for one in data)
    assert any("application/vnd.jupyter.widget-view+json" in one for one in data)
    assert any("What the map does not say." in output.get("text", "") for output in outputs)
    with Image.open(tmp_path / "seen.png") as seen, Image.open(tmp_path / "map.png") as drawn:
        assert seen.width == drawn.width
        assert seen.height > drawn.height  # the words
    assert (tmp_path / "maps" / "manifest.json").is_file()


def test_the_page_quotes_what_is_said():
    page = (ROOT / "docs" / "how-to" / "notebooks.md").read_text(encoding="utf-8")
    source = (ROOT / "src" / "mmgrad_explain" / "explanation" / "sliders.py").read_text(encoding="utf-8")
    quoted = re.findall(r"^- `(interactive\(\)[^`]+)`", page, re.MULTILINE)
    assert len(quoted) == 2
    for message in quoted:
        assert message in source
