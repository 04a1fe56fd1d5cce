"""Guess the score from a model's output, where nobody named one.

A score must depend on the image, and that counts more than its shape: a temperature, a scale or a bias is one number
too, but does not change with the image.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.model_hints import ask_default_score
from mmgrad_explain.attention.scores.base import Score
from mmgrad_explain.attention.scores.matching import ImageTextCosine, MatchLogit
from mmgrad_explain.attention.scores.named import SCORES, ensure_score
from mmgrad_explain.attention.scores.outputs import (
    IMAGE_AND_TEXT,
    find_image_and_text,
    find_matching_logits,
    get_field,
    get_part,
    list_parts,
)
from mmgrad_explain.errors import InputError, MMGradError

OutputParts = dict[Any, Tensor]
"""Floating tensors of an output, by name or index."""


@dataclass(frozen=True, eq=False)
class GuessedScore:
    """A score that was guessed from the output.

    Attributes:
        name: The name of the score in the result.
        description: What was guessed, in words, for error messages.
        function: Takes the model's output and returns (B,).
    """

    name: str
    description: str
    function: Callable[[Any], Tensor]

    def __call__(self, output: Any) -> Tensor:
        """Compute (B,)."""
        return self.function(output)


def choose_score(
    root: nn.Module, score: str | Callable[[Any], Any] | None, output: Any, sources: Sequence[Tensor] = ()
) -> Score:
    """Return the caller's score, else the model's ``default_score``, else the score that fits the output.

    Args:
        root: The model.
        score: The caller's score; None if there is none.
        output: The output of the model.
        sources: Tensors of the graph that stand for the image; a guessed score must depend on them.

    Raises:
        InputError: there is no score of that name, or the output does not suggest one.
    """
    wanted = ask_default_score(root) if score is None else score
    return guess_score(output, sources) if wanted is None else ensure_score(wanted)


def guess_score(output: Any, sources: Sequence[Tensor] = ()) -> GuessedScore:
    """Guess a score for an output when nobody named one.

    In this order: an output that is one number a sample is the score itself; an embedding of the image and one of its
    text (``image_embeds`` and ``text_embeds``, ``image_features`` and ``text_features``, or the two vectors beside a
    scale in a tuple) give their cosine; two columns of matching (BLIP's ``itm_score``) give the second, the logit for a
    match; a square ``logits_per_image``, or a square matrix beside its transpose, gives its diagonal; else the one part
    of the output that holds one number a sample. Losses and parts that do not depend on the image do not count.

    Args:
        output: The output of the model.
        sources: Tensors of the graph that stand for the image; the score must depend on them. Without any, every part
            that needs a gradient counts.

    Raises:
        InputError: the output is none of these, or has several such parts.
    """
    if _is_per_sample(output):
        return GuessedScore("output", "the output itself", _column)
    parts = {
        key: part
        for key, part in list_parts(output).items()
        if isinstance(part, Tensor) and part.is_floating_point() and "loss" not in str(key).lower()
    }
    live = {key: part for key, part in parts.items() if _depends_on(part, sources)}
    plausible = live or parts
    single = _find_per_sample(plausible)
    found = (
        _guess_cosine(output, parts, live, single if live else ())
        or _guess_match(output)
        or _guess_diagonal(output, plausible)
    )
    if (
        found is None
        and len(single) == 1
        and not _find_squares(plausible)
        and get_field(output, "logits_per_image") is None
    ):
        key = single[0]
        description = f"{_write_expression(output, key)}, the one part that holds one number a sample"
        found = GuessedScore(_name_part(key), description, lambda output: _column(get_part(output, key)))
    if found is None:
        raise InputError(_explain_indecision(output, parts, plausible, single))
    return found


@contextlib.contextmanager
def mention_guess(score: Score) -> Iterator[None]:
    """Add to every error of this package inside the block that the score was guessed, and which score it is."""
    try:
        yield
    except MMGradError as error:
        if isinstance(score, GuessedScore):
            error.args = (f"{error} (score was guessed: {score.description}; pass score= to choose another)",)
        raise


def _is_per_sample(value: Any) -> bool:
    """Return whether a value is a floating tensor with one number a sample, (B,) or (B, 1)."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)


def _column(output: Tensor) -> Tensor:
    return output.reshape(output.shape[0])


def _depends_on(part: Tensor, sources: Sequence[Tensor]) -> bool:
    """Return whether a part depends on one of the sources; the graph is walked until one is found."""
    if not part.requires_grad or not sources:
        return part.requires_grad
    if any(part is source for source in sources):
        return True
    leaves = {id(source) for source in sources if source.grad_fn is None}
    nodes = {source.grad_fn for source in sources} - {None}
    todo, visited = [part.grad_fn], {part.grad_fn}
    while todo:
        node = todo.pop()
        if node in nodes or id(getattr(node, "variable", None)) in leaves:
            return True
        following = {child for child, _ in node.next_functions if child is not None} if node is not None else set()
        following -= visited
        visited |= following
        todo.extend(following)
    return False


def _find_per_sample(parts: OutputParts) -> list[Any]:
    """Find the parts with one number a sample; a single number does not count beside parts of more samples."""
    found = [key for key, part in parts.items() if _is_per_sample(part)]
    most = max((len(parts[key]) for key in found), default=0)
    return [key for key in found if len(parts[key]) == most]


def _find_squares(parts: OutputParts) -> list[Any]:
    """Find the square matrices, which may compare every image with every text."""
    return [key for key, part in parts.items() if part.ndim == 2 and part.shape[0] == part.shape[1] > 1]


def _guess_cosine(output: Any, parts: OutputParts, live: OutputParts, single: Sequence[Any]) -> GuessedScore | None:
    """Guess the cosine of image and text: found by their names, or as two vectors beside a scale."""
    keys = find_image_and_text(output, other_names=True)
    if keys is None or (keys not in IMAGE_AND_TEXT and (single or not _have_a_scale(keys, parts, live))):
        return None
    image, text = (get_part(output, key) for key in keys)
    if image.ndim != 2 or text.shape not in {image.shape, (1, image.shape[1])}:
        return None
    description = (
        f"the cosine of {_write_expression(output, keys[0])} and {_write_expression(output, keys[1])}, row by row"
    )

    def cosine(output: Any) -> Tensor:
        return ImageTextCosine()({"image": get_part(output, keys[0]), "text": get_part(output, keys[1])})

    return GuessedScore("image-text", description, cosine)


def _have_a_scale(keys: tuple[Any, Any], parts: OutputParts, live: OutputParts) -> bool:
    """Return whether two vectors look like those of two towers beside their scale.

    Then only one of them depends on the image, or both have length 1. Logits of two heads both depend on the image and
    have any length.
    """
    scales = [part for key, part in parts.items() if key not in keys and key not in live and part.numel() == 1]
    one_is_of_image = sum(key in live for key in keys) == 1
    return bool(scales) and (one_is_of_image or all(_has_length_1(parts[key]) for key in keys))


def _has_length_1(vectors: Tensor) -> bool:
    lengths = vectors.detach().float().norm(dim=1)
    return bool(torch.allclose(lengths, torch.ones_like(lengths), atol=1e-2))


def _guess_match(output: Any) -> GuessedScore | None:
    if find_matching_logits(output) is None:
        return None
    return GuessedScore("match", "the second of two columns of matching", MatchLogit())


def _guess_diagonal(output: Any, parts: OutputParts) -> GuessedScore | None:
    """Guess the diagonal of a square ``logits_per_image``, or of a matrix beside its transpose."""
    logits = get_field(output, "logits_per_image")
    if _is_per_sample(logits):  # one text for all images
        description = f"{_write_expression(output, 'logits_per_image')}, of one text for all images"
        return GuessedScore(
            "logits_per_image", description, lambda output: _column(get_field(output, "logits_per_image")).float()
        )
    if isinstance(logits, Tensor):
        keys = ["logits_per_image"] if logits.ndim == 2 and logits.shape[0] == logits.shape[1] else []
    else:
        pairs = combinations(
            [key for key, part in parts.items() if part.ndim == 2 and part.shape[0] == part.shape[1]], 2
        )
        keys = [
            key for key, other in pairs if torch.allclose(parts[key].detach(), parts[other].detach().t(), rtol=1e-3)
        ]
    if len(keys) != 1:
        return None
    key = keys[0]
    description = f"the diagonal of {_write_expression(output, key)}"
    return GuessedScore(_name_part(key), description, lambda output: torch.diagonal(get_part(output, key)).float())


def _name_part(key: Any) -> str:
    return key if isinstance(key, str) else f"output[{key}]"


def _write_expression(output: Any, key: Any) -> str:
    """Write the expression for a part of the output, for a callable of the output."""
    if isinstance(key, str) and hasattr(output, key):
        return f"output.{key}"
    return f"output[{key!r}]"


def _explain_indecision(output: Any, parts: OutputParts, plausible: OutputParts, single: Sequence[Any]) -> str:
    shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
    every = {key: part for key, part in list_parts(output).items() if isinstance(part, Tensor)}
    shapes = [f"{_name_part(key)} {tuple(part.shape)}" for key, part in every.items()]
    holds = f" with {', '.join(shapes)}" if shapes else ""
    why, batch = "", _count_images_of_several_texts(output)
    if batch is not None:
        why = "there is not one text for each image; repeat the image for each text, or take one text: "
        plausible = {key: part for key, part in plausible.items() if part.ndim and len(part) == batch}
    elif len(single) > 1:
        why = f"several parts of it hold one number a sample ({', '.join(map(_name_part, single))}); choose one: "
    choices = [
        *_list_fitting_scores(output),
        *_list_callables(output, parts, plausible),
        "a callable that gives one number a sample",
    ]
    return (
        f"score: the model's output, a {type(output).__name__}{shape}{holds}, does not say by itself what to explain; "
        f"{why}pass score= {' or '.join(filter(None, [', '.join(choices[:-1]), choices[-1]]))}"
    )


def _count_images_of_several_texts(output: Any) -> int | None:
    """Count the images, where their number differs from that of the texts; None elsewhere."""
    logits, keys = get_field(output, "logits_per_image"), find_image_and_text(output)
    if isinstance(logits, Tensor) and logits.ndim == 2:
        return len(logits) if logits.shape[0] != logits.shape[1] else None
    if keys is None:
        return None
    image, text = (get_part(output, key) for key in keys)
    return len(image) if len(image) != len(text) else None


def _list_fitting_scores(output: Any) -> list[str]:
    """List the names of the scores that fit this output."""
    return [repr(name) for name, make in SCORES.items() if make().fits(output)]


def _list_callables(output: Any, parts: OutputParts, plausible: OutputParts) -> list[str]:
    """List callables that make a score of a part of the output."""
    if isinstance(output, Tensor):
        return _list_callables_of_part("output", output)
    found = [
        choice
        for key, part in plausible.items()
        for choice in _list_callables_of_part(_write_expression(output, key), part)
    ]
    for key, other in combinations(parts, 2):
        a, b = parts[key], parts[other]
        if (
            {key, other} & set(plausible)
            and a.ndim == b.ndim == 2
            and a.shape[1] == b.shape[1] > 1
            and len(a) <= len(b)
        ):
            index = "" if len(a) == len(b) else "[index]"
            pair = f"{_write_expression(output, key)}, {_write_expression(output, other)}{index}"
            found.append(f"lambda output: torch.cosine_similarity({pair})")
    return found


def _list_callables_of_part(expression: str, part: Tensor) -> list[str]:
    if _is_per_sample(part):
        return [f"lambda output: {expression}"]
    if part.ndim != 2:
        return []
    diagonal = [f"lambda output: {expression}.diagonal()"] if part.shape[0] == part.shape[1] else []
    return [*diagonal, f"lambda output: {expression}[:, index]"]
