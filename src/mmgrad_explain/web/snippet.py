"""Python that makes what the page shows, to run without the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.examples import Code, code_for

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
    pictures = [_named("picture", question.picture, question.picture_name)]
    if question.target is not None:
        pictures.append(_named("target", question.target, question.target_name))
    called = "phrase_maps" if question.phrases else "explain"
    texts: Any = list(question.texts) if len(question.texts) > 1 else question.texts[0]
    arguments = ["picture", repr(texts)]
    arguments += [] if question.target is None else ["target=target"]
    given = {
        "model": model,
        "layer": question.layer,
        "score": question.score,
        "weighting": question.weighting,
        "words": question.words or None,
        "answer": question.answer,
    }
    arguments += [f"{name}={value!r}" for name, value in given.items() if value is not None]
    imports = [f"from mmgrad_explain import {called}", *(line for one in pictures for line in one.imports)]
    result = f"explanation = {called}({', '.join(arguments)})" + (".explanation" if question.phrases else "")
    shown = [
        "for index in range(len(explanation)):",
        "    print(explanation.in_words(index))",
        '    explanation.overlay(index).save(f"map_{index}.png")',
    ]
    return "\n".join([*dict.fromkeys(imports), "", *(one.text for one in pictures), result, *shown]) + "\n"


def of_walk(
    first: tuple[Image.Image, str],
    asked: Sequence[tuple[int | None, str]],
    *,
    gallery: str | None,
    examples: tuple[str, str],
    k: int,
    layer: str | None,
    score: str | None,
) -> str:
    """Give the code for a search that went on.

    Args:
        first: The picture that it began with, and its name.
        asked: Of each turn, the rank of the hit before that it asked with, and the sentence; the first has no rank.
        gallery: Address of the gallery; None of the example gallery.
        examples: The example gallery's model, and the kind of its pictures.
        k: How many hits.
        layer: Dotted name; the model's own when None.
        score: Name of the score of the hits' maps; the model's own when None.

    Returns:
        A program.
    """
    picture = _named("picture", *first)
    steps = [picture.text]
    for rank, text in asked:
        reference = "picture" if rank is None else f"found.hits[{rank - 1}].path"
        steps.append(f"found = gallery.retrieve({reference}, {text!r}, k={k})")
    options = "".join(f", {name}={one!r}" for name, one in (("layer", layer), ("score", score)) if one is not None)
    steps += [f"maps = gallery.explain(found{options})", 'maps.sheet().save("hits.png")']
    head = ["from mmgrad_explain import Gallery", *picture.imports]
    if gallery is not None:
        return "\n".join([*head, "", f"with Gallery({gallery!r}) as gallery:", *_indented(steps)]) + "\n"
    head = ["import tempfile", "", *head, "from mmgrad_explain.web.examples import write_pictures"]
    body = [
        "with tempfile.TemporaryDirectory() as folder:",
        f'    write_pictures(f"{{folder}}/pictures", {examples[1]!r})',
        f'    with Gallery(f"{{folder}}/examples.db", {examples[0]!r}, create=True) as gallery:',
        '        gallery.index([f"{folder}/pictures"])',
        *_indented(_indented(steps)),
    ]
    return "\n".join([*head, "", *body]) + "\n"


def _named(name: str, picture: Image.Image, file: str) -> Code:
    """The line that gives a picture its name."""
    code = code_for(picture)
    if code is not None:
        return Code(f"{name} = {code.text}", code.imports)
    return Code(f"{name} = {file!r}  # the picture that was given to the page")


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
