"""Python programs that make what the page shows, to run without the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.web.examples import Code, code_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from mmgrad_explain.web.explain_request import ExplainRequest


def explain_snippet(request: ExplainRequest, model: str) -> str:
    """Write the program for an explanation.

    Args:
        request: What the visitor asked.
        model: Name of the model that answered.

    Returns:
        A program; images that are no examples are read from files with the names of the uploads.
    """
    images = [_assign("picture", request.image, request.image_name)]
    if request.target is not None:
        images.append(_assign("target", request.target, request.target_name))
    function = "phrase_maps" if request.phrases else "explain"
    texts: Any = list(request.texts) if len(request.texts) > 1 else request.texts[0]
    arguments = ["picture", repr(texts)]
    arguments += [] if request.target is None else ["target=target"]
    options = {
        "model": model,
        "layer": request.layer,
        "score": request.score,
        "method": request.method,
        "words": request.words or None,
        "answer": request.answer,
    }
    arguments += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    imports = [f"from mmgrad_explain import {function}", *(line for image in images for line in image.imports)]
    result = f"explanation = {function}({', '.join(arguments)})" + (".explanation" if request.phrases else "")
    checked = ["for check in explanation.check():", "    print(check)"] if request.check else []
    shown = [
        *checked,
        "for index in range(len(explanation)):",
        "    print(explanation.in_words(index))",
        '    explanation.save_overlay(f"map_{index}.png", index)',
    ]
    return "\n".join([*dict.fromkeys(imports), "", *(image.text for image in images), result, *shown]) + "\n"


def search_snippet(
    first: tuple[Image.Image, str],
    asked: Sequence[tuple[int | None, str]],
    *,
    gallery: str | None,
    examples: tuple[str, str],
    k: int,
    layer: str | None,
    score: str | None,
) -> str:
    """Write the program for a search of one or more steps.

    Args:
        first: The image of the first step, and its name.
        asked: Of each step, the rank of the hit that was its reference (None for the first image), and the sentence.
        gallery: Address of the gallery; None for the example gallery.
        examples: The example gallery's model, and the kind of its images.
        k: How many hits.
        layer: Dotted name; the model's default when None.
        score: Name of the score of the hits' maps; the model's default when None.

    Returns:
        A program.
    """
    picture = _assign("picture", *first)
    steps = [picture.text]
    for rank, text in asked:
        reference = "picture" if rank is None else f"found.hits[{rank - 1}].path"
        steps.append(f"found = gallery.retrieve({reference}, {text!r}, k={k})")
    options = "".join(
        f", {name}={value!r}" for name, value in (("layer", layer), ("score", score)) if value is not None
    )
    steps += [f"maps = gallery.explain(found{options})", 'maps.sheet().save("hits.png")']
    head = ["from mmgrad_explain import Gallery", *picture.imports]
    if gallery is not None:
        return "\n".join([*head, "", f"with Gallery({gallery!r}) as gallery:", *_indent(steps)]) + "\n"
    head = ["import tempfile", "", *head, "from mmgrad_explain.web.examples import write_example_images"]
    body = [
        "with tempfile.TemporaryDirectory() as folder:",
        f'    write_example_images(f"{{folder}}/pictures", {examples[1]!r})',
        f'    with Gallery(f"{{folder}}/examples.db", {examples[0]!r}, create=True) as gallery:',
        '        gallery.index([f"{folder}/pictures"])',
        *_indent(_indent(steps)),
    ]
    return "\n".join([*head, "", *body]) + "\n"


def _assign(name: str, image: Image.Image, file: str) -> Code:
    """Write the line that assigns an image to a name."""
    code = code_for(image)
    if code is not None:
        return Code(f"{name} = {code.text}", code.imports)
    return Code(f"{name} = {file!r}  # the picture that was given to the page")


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
