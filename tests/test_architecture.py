"""A room imports only from floors below its own; rooms of the second floor do not know one another."""

import ast
from pathlib import Path

import mmgrad_explain

ROOT = Path(mmgrad_explain.__file__).parent
FLOORS = {
    "__main__": 5,
    "cli": 4, "web": 4,
    "training": 3, "explaining": 3, "cir_evaluation": 3, "stand_ins": 3, "stand_in_models": 3,
    "embedding": 3, "example_inputs": 3, "gallery": 3, "gallery_index": 3, "gallery_sheet": 3,
    "data": 2, "attention": 2, "composers": 2,
    "evaluation": 1, "grounding": 1, "overlay": 1, "overlay_mixing": 1, "overlay_tiles": 0, "overlay_words": 1,
    "devices": 1, "gallery_files": 1, "gallery_session": 1, "gallery_store": 1, "images": 1, "layouts": 1,
    "locking": 1, "notes": 1, "picture_notes": 1, "picture_values": 1, "reading": 1, "terminal": 1, "text_lines": 1,
    "image_processor_geometry": 1, "transform_geometry": 1, "writing": 1,
    "errors": 0, "redacting": 0, "_version": 0,
}  # fmt: skip


def imports(path):
    """The rooms that a file imports from, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mmgrad_explain"):
            rest = node.module.split(".")[1:]
            yield from rest[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("mmgrad_explain."))


def test_no_arrow_runs_back():
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imports(path):
            if other == "__version__":
                continue
            floor = FLOORS[other]
            if other != room and not (floor < FLOORS[room] or floor == FLOORS[room] != 2):
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong


def test_no_file_is_too_long():
    assert [str(p) for p in ROOT.rglob("*.py") if len(p.read_text().splitlines()) > 400] == []
