"""Python that makes what the page shows, to run without the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.examples import code_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.web.answers import Question


def of_question(question: Question, model: str) -> str:
    """Give the code for an explanation.

    Args:
        question: What was asked.
        model: Name of the model that answered.

    Returns:
        A program; pictures that are no examples are files by the names that they were given under.
    """
    lines, picture = _picture("picture", question.picture, question.picture_name)
    target = None
    if question.target is not None:
        more, target = _picture("target", question.target, question.target_name)
        lines += more
    called = "phrase_maps" if question.phrases else "explain"
    texts: Any = list(question.texts) if len(question.texts) > 1 else question.texts[0]
    arguments = [picture, repr(texts)]
    arguments += [] if target is None else [f"target={target}"]
    given = {
        "model": model,
        "layer": question.layer,
        "score": question.score,
        "weighting": question.weighting,
        "words": question.words or None,
        "answer": question.answer,
    }
    arguments += [f"{name}={value!r}" for name, value in given.items() if value is not None]
    imports = [f"from mmgrad_explain import {called}"]
    if any("scenes(" in line for line in lines):
        imports.append("from mmgrad_explain.data.scenes import scenes")
    result = f"explanation = {called}({', '.join(arguments)})" + (".explanation" if question.phrases else "")
    shown = [
        "for index in range(len(explanation)):",
        "    print(explanation.in_words(index))",
        '    explanation.overlay(index).save(f"map_{index}.png")',
    ]
    return "\n".join([*imports, "", *lines, result, *shown]) + "\n"


def of_walk(
    first: tuple[Image.Image, str], asked: Sequence[tuple[int | None, str]], *, gallery: str | None, k: int
) -> str:
    """Give the code for a search that went on.

    Args:
        first: The picture that it began with, and its name.
        asked: Of each turn, the rank of the hit before that it asked with, and the sentence; the first has no rank.
        gallery: Address of the gallery; None of the example gallery.
        k: How many hits.

    Returns:
        A program.
    """
    steps, place = _picture("picture", *first)
    for rank, text in asked:
        reference = place if rank is None else f"found.hits[{rank - 1}].path"
        steps.append(f"found = gallery.retrieve({reference}, {text!r}, k={k})")
    steps += ["maps = gallery.explain(found)", 'maps.sheet().save("hits.png")']
    head = ["from mmgrad_explain import Gallery"]
    if "scenes(" in steps[0]:
        head.append("from mmgrad_explain.data.scenes import scenes")
    if gallery is not None:
        return "\n".join([*head, "", f"with Gallery({gallery!r}) as gallery:", *_indented(steps)]) + "\n"
    head = ["import tempfile", "", *head, "from mmgrad_explain.web.examples import write_pictures"]
    body = [
        "with tempfile.TemporaryDirectory() as folder:",
        '    write_pictures(f"{folder}/pictures")',
        '    with Gallery(f"{folder}/examples.db", "reference", create=True) as gallery:',
        '        gallery.index([f"{folder}/pictures"])',
        *_indented(_indented(steps)),
    ]
    return "\n".join([*head, "", *body]) + "\n"


def _picture(name: str, picture: Image.Image, file: str) -> tuple[list[str], str]:
    """The lines that give a picture its name, and that name."""
    code = code_for(picture)
    if code is not None:
        return [f"{name} = {code}"], name
    return [f"{name} = {file!r}  # the picture that was given to the page"], name


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
