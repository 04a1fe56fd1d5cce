"""Every message that the troubleshooting page quotes stands in the code; most are provoked as well."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tidy(message):
    """One ellipsis where several stand side by side, one space where there are several."""
    return re.sub(r"…+", "…", " ".join(message.split()))


def said(node):
    """The text of a string or f-string, with an ellipsis for each hole; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return tidy(node.value)
    if isinstance(node, ast.JoinedStr):
        return tidy("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
    return None


@cache
def messages():
    """Every string of the package that is no docstring."""
    found = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found |= {said(node) for node in ast.walk(tree) if id(node) not in documents}
        found |= {f"{said(node.args[0])}: …" for node in ast.walk(tree) if is_reading(node)}
        found |= {choice_refused(node) for node in ast.walk(tree)}
    return found - {None}


def is_reading(node):
    """Whether a node is a call of ``reading``, which adds the reason to what it is given."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "reading"


def choice_refused(node):
    """The message of a call that checks a name, or what a callable returned; None for anything else."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) not in {"choose", "check_choice", "check_returned"}:
        return None
    if ast.unparse(node.func) == "check_returned":
        return f"{said(node.args[0])} must return {said(node.args[3])}, not …"
    given = {keyword.arg: said(keyword.value) for keyword in node.keywords}
    noun = f"{given['noun']} " if "noun" in given else ""
    also = "any callable" if ast.unparse(node.func) == "choose" else given.get("also")
    return f"{said(node.args[0])}: there is no {noun}…; …Known: …{f', or {also}' if also else ''}"


def is_given(quoted, known):
    """Whether a message is one of the known ones, or, ending in an ellipsis, begins one."""
    return tidy(quoted) in known or (quoted.endswith("…") and any(one.startswith(quoted[:-1]) for one in known))


def test_the_code_gives_them_all(entries):
    assert [quoted for quoted in entries if not is_given(quoted, messages())] == []


def test_one_that_has_gone_is_noticed():
    assert is_given("no such file: …", messages())
    assert not is_given("no such document: …", messages())
    assert not is_given("no such file", messages())
    assert is_given("text is empty: say what…", messages())


def test_there_are_many_each_once(entries):
    assert len(entries) >= 120
    assert len(set(entries)) == len(entries)


def test_what_stands_alone_is_an_entry(page, entries):
    """No line of code without an answer, no answer without a message."""
    assert len(re.findall(r"^`[^`]+`$", page, re.MULTILINE)) == len(entries)
    assert len(re.findall(r"^: ", page, re.MULTILINE)) == len(entries)


def test_most_are_provoked(entries):
    tables = [
        node.value
        for path in Path(__file__).parent.glob("test_provoked_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROVOKED"
    ]
    assert sum(len(table.keys) for table in tables) >= 0.75 * len(entries)
