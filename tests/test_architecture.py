"""Rooms import only from rooms strictly below them, and no files import one another in a circle."""

import ast
from pathlib import Path

import pytest

import mmgrad_explain

ROOT = Path(mmgrad_explain.__file__).parent
FLOORS = [
    {"errors", "_version", "_doors"},
    {"notes", "_system"},
    {"images", "metrics"},
    {"grounding"},
    {"explanation"},
    {"attention"},
    {"composers"},
    {"data"},
    {"evaluation"},
    {"api", "training"},
    {"judging"},
    {"gallery"},
    {"web"},
    {"cli"},
    {"__main__"},
]
"""From the ground up. What stands on one floor does not know one another."""


def modules(root):
    """The files of a package by their dotted names, without the package's; doors are left out."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
    }


def arrows(root, package):
    """Each file with the files and doors that it imports, wherever in it, for types too."""
    found = modules(root)
    doors = {".".join(path.parent.relative_to(root).parts) for path in root.rglob("__init__.py")}
    for name, path in found.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                if (node.module or "").split(".")[0] == package:
                    base = node.module.partition(".")[2]
                    full = [f"{base}.{alias.name}".strip(".") for alias in node.names]
                    imported |= {one if one in found or one in doors else base for one in full}
            elif isinstance(node, ast.Import):
                imported |= {a.name.partition(".")[2] for a in node.names if a.name.split(".")[0] == package}
        yield name, imported - {""}


def upward(root, package, floors):
    """Imports that do not lead to a lower floor."""
    height = {room: number for number, rooms in enumerate(floors) for room in rooms}
    for name, imported in arrows(root, package):
        room = name.split(".")[0]
        for other in sorted(imported):
            there = other.split(".")[0]
            if there != room and height[there] >= height[room]:
                yield f"{name} imports {other}"


def circles(root, package):
    """Groups of files of which each reaches each other one by imports."""
    return connected(dict(arrows(root, package)))


def connected(graph):
    """Groups of nodes of which each reaches each other one (Tarjan's strongly connected components)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_every_room_has_its_floor():
    rooms = {name.split(".")[0] for name in modules(ROOT)}
    floors = [room for floor in FLOORS for room in floor]
    assert sorted(floors) == sorted(rooms)


def test_arrows_lead_down():
    assert list(upward(ROOT, "mmgrad_explain", FLOORS)) == []


def test_no_files_import_one_another_in_a_circle():
    assert circles(ROOT, "mmgrad_explain") == []


def circles_of_packages(root, package, room):
    """Groups of packages inside a room of which each reaches each other one; a package's own packages belong to it."""
    inside = f"{room}."
    graph = {}
    for name, imported in arrows(root, package):
        if name.startswith(inside):
            here, there = (name.split(".")[1], {one.split(".")[1] for one in imported if one.startswith(inside)})
            graph.setdefault(here, set()).update(there - {here})
    return connected(graph)


def test_no_packages_of_attention_import_one_another_in_a_circle():
    assert circles_of_packages(ROOT, "mmgrad_explain", "attention") == []


def test_files_import_no_door_of_the_package():
    """Doors are for users: within the package each import names the module that defines what it takes."""
    doors = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.rglob("__init__.py")} - {""}
    assert [
        f"{name}: {sorted(imported & doors)}" for name, imported in arrows(ROOT, "mmgrad_explain") if imported & doors
    ] == []


def test_no_file_imports_a_private_name():
    wrong = []
    for name, path in modules(ROOT).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmgrad_explain."):
                wrong += [f"{name}: {a.name}" for a in node.names if a.name.startswith("_") and a.name != "__version__"]
    assert wrong == []


def test_no_file_is_too_long():
    assert [str(p) for p in ROOT.rglob("*.py") if len(p.read_text().splitlines()) > 400] == []


@pytest.fixture
def small(tmp_path):
    """A package of three rooms, of which the upper ones import from the lowest."""
    for name, text in {
        "low/a.py": "",
        "mid/b.py": "from small.low.a import x\n",
        "side/c.py": "from small.low import a\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).with_name("__init__.py").write_text("")
    return tmp_path


class TestTheseTestsBite:
    floors = ({"low"}, {"mid", "side"})

    def test_a_house_in_order(self, small):
        assert list(upward(small, "small", self.floors)) == circles(small, "small") == []

    @pytest.mark.parametrize(
        ("file", "line", "said"),
        [
            ("low/a.py", "from small.mid.b import y", "low.a imports mid.b"),
            ("low/a.py", "def f():\n    import small.mid.b", "low.a imports mid.b"),
            ("mid/b.py", "from small.side import c", "mid.b imports side.c"),
            ("mid/b.py", "if TYPE_CHECKING:\n    from small.side.c import z", "mid.b imports side.c"),
            ("side/c.py", "from small import mid", "side.c imports mid"),
        ],
    )
    def test_an_arrow_up_or_across(self, small, file, line, said):
        (small / file).write_text(line + "\n")
        assert said in list(upward(small, "small", self.floors))

    def test_a_circle_of_types_alone(self, small):
        (small / "low/a.py").write_text("if TYPE_CHECKING:\n    from small.low.d import T\n")
        (small / "low/d.py").write_text("from small.low.e import T\n")
        (small / "low/e.py").write_text("def f():\n    from small.low import a\n")
        assert circles(small, "small") == [{"low.a", "low.d", "low.e"}]

    def test_a_circle_of_packages_of_one_room(self, small):
        for name, text in {"up/a.py": "from small.low.down.b import x\n", "down/b.py": "", "down/c.py": ""}.items():
            (small / "low" / name).parent.mkdir(exist_ok=True)
            (small / "low" / name).write_text(text)
        assert circles_of_packages(small, "small", "low") == []
        (small / "low/down/c.py").write_text("from small.low.up.a import y\n")
        assert circles(small, "small") == []
        assert circles_of_packages(small, "small", "low") == [{"up", "down"}]
