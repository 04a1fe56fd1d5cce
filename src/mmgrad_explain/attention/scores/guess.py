"""The score that a model's output suggests, where nobody named one.

What a score may be is decided by what it hangs on before its shape: a temperature, a scale or a bias has one number,
too, but does not change with the picture.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mmgrad_explain.attention.scores.embedding import SCORES, Score
from mmgrad_explain.attention.scores.matching import ImageTextCosine, MatchLogit
from mmgrad_explain.attention.scores.outputs import (
    PICTURE_AND_TEXT,
    field,
    image_and_text,
    matching_logits,
    named_parts,
    part_of,
)
from mmgrad_explain.errors import InputError, MMGradError

Parts = dict[Any, Tensor]


@dataclass(frozen=True, eq=False)
class GuessedScore:
    """A score that the output suggested.

    Attributes:
        name: What the result calls it.
        said: What was guessed, in words, for errors that come of it.
        function: Gives (B,) of the model's output.
    """

    name: str
    said: str
    function: Callable[[Any], Tensor]

    def __call__(self, output: Any) -> Tensor:
        """Give (B,)."""
        return self.function(output)


def default_score(output: Any, sources: Sequence[Tensor] = ()) -> GuessedScore:
    """Choose a score for an output when nobody named one.

    In this order: an output that is one number a sample is taken as it is; an embedding of the picture and one of its
    text (``image_embeds`` and ``text_embeds``, ``image_features`` and ``text_features``, or the two that stand beside a
    scale in a tuple) give their cosine; two columns of matching (BLIP's ``itm_score``) give the second, the logit for a
    match; a square ``logits_per_image``, or a square matrix beside its transpose, gives its diagonal; else the one part
    of the output that holds one number a sample. Losses do not count, nor does what does not depend on the picture.

    Args:
        output: What the model gave.
        sources: Tensors of the graph that stand for the picture: what a score must hang on. None given, whatever needs
            a gradient counts.

    Raises:
        InputError: the output is none of these, or has several such parts.
    """
    if _is_one_each(output):
        return GuessedScore("output", "the output itself", _column)
    parts = {
        key: part
        for key, part in named_parts(output).items()
        if isinstance(part, Tensor) and part.is_floating_point() and "loss" not in str(key).lower()
    }
    live = {key: part for key, part in parts.items() if _hangs_on(part, sources)}
    plausible = live or parts
    single = _one_each(plausible)
    found = _two_towers(output, parts, live, single if live else ()) or _match(output) or _diagonal(output, plausible)
    if found is None and len(single) == 1 and not _squares(plausible) and field(output, "logits_per_image") is None:
        key = single[0]
        said = f"{_expression(output, key)}, the one part that holds one number a sample"
        found = GuessedScore(_call_it(key), said, lambda output: _column(part_of(output, key)))
    if found is None:
        raise InputError(_undecided(output, parts, plausible, single))
    return found


@contextlib.contextmanager
def naming_the_guess(score: Score) -> Iterator[None]:
    """Add to an error of this package inside the block that the score was guessed, and what it is."""
    try:
        yield
    except MMGradError as error:
        if isinstance(score, GuessedScore):
            error.args = (f"{error} (score was guessed: {score.said}; pass score= to choose another)",)
        raise


def _is_one_each(value: Any) -> bool:
    """Say whether a value is a floating tensor with one number a sample, (B,) or (B, 1)."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)


def _column(output: Tensor) -> Tensor:
    return output.reshape(output.shape[0])


def _hangs_on(part: Tensor, sources: Sequence[Tensor]) -> bool:
    """Say whether a part's gradient reaches one of the sources; the graph is walked until one is found."""
    if not part.requires_grad or not sources:
        return part.requires_grad
    if any(part is source for source in sources):
        return True
    leaves = {id(source) for source in sources if source.grad_fn is None}
    nodes = {source.grad_fn for source in sources} - {None}
    todo, met = [part.grad_fn], {part.grad_fn}
    while todo:
        node = todo.pop()
        if node in nodes or id(getattr(node, "variable", None)) in leaves:
            return True
        following = {one for one, _ in node.next_functions if one is not None} - met if node is not None else set()
        met |= following
        todo.extend(following)
    return False


def _one_each(parts: Parts) -> list[Any]:
    """The parts with one number a sample; a single number is none beside parts of more samples."""
    found = [key for key, part in parts.items() if _is_one_each(part)]
    most = max((len(parts[key]) for key in found), default=0)
    return [key for key in found if len(parts[key]) == most]


def _squares(parts: Parts) -> list[Any]:
    """The parts that may hold every picture with every text."""
    return [key for key, part in parts.items() if part.ndim == 2 and part.shape[0] == part.shape[1] > 1]


def _two_towers(output: Any, parts: Parts, live: Parts, single: Sequence[Any]) -> GuessedScore | None:
    """The cosine of picture and text: by their names, or of two vectors that stand beside a scale."""
    keys = image_and_text(output, other_names=True)
    if keys is None or (keys not in PICTURE_AND_TEXT and (single or not _stand_beside_a_scale(keys, parts, live))):
        return None
    image, text = (part_of(output, key) for key in keys)
    if image.ndim != 2 or text.shape not in {image.shape, (1, image.shape[1])}:
        return None
    said = f"the cosine of {_expression(output, keys[0])} and {_expression(output, keys[1])}, row by row"

    def cosine(output: Any) -> Tensor:
        return ImageTextCosine()({"image": part_of(output, keys[0]), "text": part_of(output, keys[1])})

    return GuessedScore("image-text", said, cosine)


def _stand_beside_a_scale(keys: tuple[Any, Any], parts: Parts, live: Parts) -> bool:
    """Say whether two vectors look like two towers', with their scale: one is of the picture, or both have length 1.

    Logits of two heads both hang on the picture and have any length.
    """
    scales = [part for key, part in parts.items() if key not in keys and key not in live and part.numel() == 1]
    one_is_of_the_picture = sum(key in live for key in keys) == 1
    return bool(scales) and (one_is_of_the_picture or all(_has_length_1(parts[key]) for key in keys))


def _has_length_1(vectors: Tensor) -> bool:
    lengths = vectors.detach().float().norm(dim=1)
    return bool(torch.allclose(lengths, torch.ones_like(lengths), atol=1e-2))


def _match(output: Any) -> GuessedScore | None:
    if matching_logits(output) is None:
        return None
    return GuessedScore("match", "the second of two columns of matching", MatchLogit())


def _diagonal(output: Any, parts: Parts) -> GuessedScore | None:
    """The diagonal of a square ``logits_per_image``, or of a matrix that stands beside its transpose."""
    logits = field(output, "logits_per_image")
    if _is_one_each(logits):  # one text for all pictures
        said = f"{_expression(output, 'logits_per_image')}, of one text for all pictures"
        return GuessedScore("logits_per_image", said, lambda output: _column(field(output, "logits_per_image")).float())
    if isinstance(logits, Tensor):
        keys = ["logits_per_image"] if logits.ndim == 2 and logits.shape[0] == logits.shape[1] else []
    else:
        pairs = combinations(
            [key for key, part in parts.items() if part.ndim == 2 and part.shape[0] == part.shape[1]], 2
        )
        keys = [
            one for one, other in pairs if torch.allclose(parts[one].detach(), parts[other].detach().t(), rtol=1e-3)
        ]
    if len(keys) != 1:
        return None
    key = keys[0]
    said = f"the diagonal of {_expression(output, key)}"
    return GuessedScore(_call_it(key), said, lambda output: torch.diagonal(part_of(output, key)).float())


def _call_it(key: Any) -> str:
    return key if isinstance(key, str) else f"output[{key}]"


def _expression(output: Any, key: Any) -> str:
    """How a callable of the output writes one of its parts."""
    if isinstance(key, str) and hasattr(output, key):
        return f"output.{key}"
    return f"output[{key!r}]"


def _undecided(output: Any, parts: Parts, plausible: Parts, single: Sequence[Any]) -> str:
    shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
    every = {key: part for key, part in named_parts(output).items() if isinstance(part, Tensor)}
    shapes = [f"{_call_it(key)} {tuple(part.shape)}" for key, part in every.items()]
    holds = f" with {', '.join(shapes)}" if shapes else ""
    why, batch = "", _pictures_of_several_texts(output)
    if batch is not None:
        why = "there is no one text for each picture; repeat the picture for each text, or take one text: "
        plausible = {key: part for key, part in plausible.items() if part.ndim and len(part) == batch}
    elif len(single) > 1:
        why = f"several parts of it hold one number a sample ({', '.join(map(_call_it, single))}); choose one: "
    choices = [
        *_names_that_work(output),
        *_callables(output, parts, plausible),
        "a callable that gives one number a sample",
    ]
    return (
        f"score: the model's output, a {type(output).__name__}{shape}{holds}, does not say by itself what to explain; "
        f"{why}pass score= {' or '.join(filter(None, [', '.join(choices[:-1]), choices[-1]]))}"
    )


def _pictures_of_several_texts(output: Any) -> int | None:
    """How many pictures there are, where there are more texts than that; None where there are not."""
    logits, keys = field(output, "logits_per_image"), image_and_text(output)
    if isinstance(logits, Tensor) and logits.ndim == 2:
        return len(logits) if logits.shape[0] != logits.shape[1] else None
    if keys is None:
        return None
    image, text = (part_of(output, key) for key in keys)
    return len(image) if len(image) != len(text) else None


def _names_that_work(output: Any) -> list[str]:
    """The scores by name that this output has what they need for."""
    found = []
    for name, make in SCORES.items():
        with contextlib.suppress(InputError, TypeError, RuntimeError):
            if make()(output).ndim == 1:
                found.append(repr(name))
    return found


def _callables(output: Any, parts: Parts, plausible: Parts) -> list[str]:
    """What a callable might give, for each part that it might be of."""
    if isinstance(output, Tensor):
        return _of_one("output", output)
    found = [choice for key, part in plausible.items() for choice in _of_one(_expression(output, key), part)]
    for one, other in combinations(parts, 2):
        a, b = parts[one], parts[other]
        if (
            {one, other} & set(plausible)
            and a.ndim == b.ndim == 2
            and a.shape[1] == b.shape[1] > 1
            and len(a) <= len(b)
        ):
            index = "" if len(a) == len(b) else "[index]"
            pair = f"{_expression(output, one)}, {_expression(output, other)}{index}"
            found.append(f"lambda output: torch.cosine_similarity({pair})")
    return found


def _of_one(expression: str, part: Tensor) -> list[str]:
    if _is_one_each(part):
        return [f"lambda output: {expression}"]
    if part.ndim != 2:
        return []
    diagonal = [f"lambda output: {expression}.diagonal()"] if part.shape[0] == part.shape[1] else []
    return [*diagonal, f"lambda output: {expression}[:, index]"]
