"""Maps of a composer judged against masks: what the evaluations on scenes and on photographs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.attention.undisturbed import undisturbed
from mmgrad_explain.composers.reference.network import ComposedOutput, reference_alone
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import deletion_insertion, parameter_randomization
from mmgrad_explain.metrics.localization import energy_inside, intersection_over_union, pointing_game

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.composers.base import Composer

FIGURES = ("pointing", "energy", "iou", "dead")
"""What is measured of every map against its mask."""

IMAGE_ONLY = "image only"
"""Name of the score that takes no notice of the text: plain Grad-CAM of the picture's own embedding."""


@dataclass(frozen=True)
class MapKind:
    """What a map is made with.

    Attributes:
        score: ``"shift"``, ``"similarity"``, ``"pair"``, ``"pair-different"`` or :data:`IMAGE_ONLY`.
        weighting: How gradients weigh activations.
    """

    score: str
    weighting: str

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.score}, {self.weighting}"


def default_kind(composer: Composer) -> MapKind:
    """The score and weighting a composer uses by itself."""
    return MapKind(composer.default_score or "shift", str(getattr(composer, "default_weighting", "gradcam")))


def image_only(output: ComposedOutput) -> Tensor:
    """Score of the pictures' own embeddings, without any text: ``<z, sg(z)>`` of reference and target, ``(B,)``.

    Raises:
        InputError: If the output does not say what the text changed in it.
    """
    if output.shift is None:
        raise InputError(f"score {IMAGE_ONLY!r} needs an output with .shift, to take the text out of the embedding")
    own = reference_alone(output)
    score = (own * own.detach()).sum(-1)
    return score if output.target is None else score + (output.target * output.target.detach()).sum(-1)


def _scorer(name: str) -> Callable[[Any], Tensor]:
    return image_only if name == IMAGE_ONLY else ensure_score(name)


def draw_maps(
    composer: Composer, tensors: dict[str, Tensor], on_target: Tensor, kinds: Sequence[MapKind]
) -> tuple[dict[MapKind, Tensor], ComposedOutput]:
    """The maps of a batch, all from one forward, each score's from one gradient a side.

    Args:
        composer: The model; comes back as it was.
        tensors: What its ``forward`` takes, with targets; ``B`` samples.
        on_target: Whose map is taken on the target picture, ``(B,)`` bool.
        kinds: Which maps.

    Returns:
        ``(B, h, w)`` for each kind, on the layer's grid, and the composer's output, detached.
    """
    sides = [side for side in (0, 1) if bool((on_target == bool(side)).any())]
    grids: dict[MapKind, Tensor] = {}
    with undisturbed(composer, tensors):
        mmgrad = MultiModalGradAttention(composer)
        with mmgrad.capture(math_attention=False) as seen:
            output = composer(**tensors)
        for name in dict.fromkeys(kind.score for kind in kinds):
            own = [kind for kind in kinds if kind.score == name]
            score = _scorer(name)(output)
            drawn = [
                mmgrad.attend(score, seen, call=side, weighting=[kind.weighting for kind in own]).detach()
                for side in sides
            ]
            every = drawn[0] if len(drawn) == 1 else torch.where(on_target[None, :, None, None], drawn[1], drawn[0])
            grids.update(zip(own, every, strict=True))
    parts = {name: getattr(output, name, None) for name in ComposedOutput._fields}
    detached: Any = {name: part if part is None else part.detach() for name, part in parts.items()}
    return grids, ComposedOutput(**detached)


def resized(grids: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, h, w)`` brought bilinearly to ``(B, *size)``."""
    return F.interpolate(grids[:, None], size=size, mode="bilinear")[:, 0]


def judge(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """:data:`FIGURES` of maps at the masks' resolution, each ``(B,)`` in [0, 1]."""
    return {
        "pointing": pointing_game(maps, masks),
        "energy": energy_inside(maps, masks),
        "iou": intersection_over_union(maps, masks),
        "dead": (maps.amax((1, 2)) <= maps.amin((1, 2))).float(),
    }


def disjoint_pairs(masks: Tensor, group: Tensor, usable: Tensor) -> Tensor:
    """Ordered pairs of texts about one picture whose regions have nothing in common.

    Args:
        masks: ``(B, H, W)`` bool.
        group: Which picture each belongs to, ``(B,)``.
        usable: Which may take part, ``(B,)`` bool.

    Returns:
        ``(P, 2)`` indices; every pair is there in both orders.
    """
    flat = masks.flatten(1).float()
    usable = usable & (flat.sum(1) > 0)
    apart = (flat @ flat.T == 0) & (group[:, None] == group[None]) & usable[:, None] & usable[None]
    return apart.nonzero()


def kept_words(tensors: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The arguments that are not pictures, for some of the samples."""
    return {name: value[rows] for name, value in tensors.items() if not name.endswith("pixel_values")}


def embeddings(output: ComposedOutput) -> tuple[Tensor, Tensor, Tensor]:
    """Unit embeddings ``(B, D)`` of queries, target pictures and reference pictures.

    Raises:
        InputError: If the output has no ``shift`` or no ``target``.
    """
    if output.shift is None or output.target is None:
        raise InputError("an evaluation needs a composer whose output has .shift and .target")
    every = (output.embedding, output.target, reference_alone(output))
    return tuple(F.normalize(one, dim=-1) for one in every)  # type: ignore[return-value]


def sibling_candidates(targets: Tensor, references: Tensor, group: Tensor) -> Tensor:
    """What each query chooses among: its own target first, then the picture's other targets, and the picture itself.

    Args:
        targets: ``(N, D)``.
        references: ``(N, D)``.
        group: Which picture each query belongs to, ``(N,)``.

    Returns:
        ``(N, G, D)``; where a picture has fewer targets than others, itself is there several times.
    """
    rows = []
    for i in range(len(targets)):
        siblings = ((group == group[i]) & (torch.arange(len(group), device=group.device) != i)).nonzero()[:, 0]
        rows.append(torch.cat([targets[i : i + 1], targets[siblings], references[i : i + 1]]))
    longest = max(map(len, rows))
    return torch.stack([torch.cat([row, row[-1:].expand(longest - len(row), -1)]) for row in rows])


@dataclass(frozen=True)
class Faithfulness:
    """Whether maps say what the model depends on, on ``n`` samples; see ``evaluation/faithfulness.py``.

    Attributes:
        shift: Gains over a random order for the score the map explains, as a share of its value on the whole picture:
            ``"deletion"`` and ``"insertion"``, each ``(n,)``.
        retrieval: Likewise for whether the right target is found among the picture's own candidates.
        areas: The areas under the curves themselves, by name, ``(n, 2)``: shift, retrieval.
        randomized: Rank correlation of the maps with those of the model with random weights, ``(n,)``.
    """

    shift: dict[str, Tensor]
    retrieval: dict[str, Tensor]
    areas: dict[str, Tensor]
    randomized: Tensor


def faithfulness(
    composer: Composer,
    tensors: dict[str, Tensor],
    kinds: Sequence[MapKind],
    candidates: Tensor,
    *,
    steps: int = 10,
    batch: int = 64,
    seed: int = 0,
) -> dict[MapKind, Faithfulness]:
    """Deletion, insertion and randomized weights for maps on reference pictures.

    Two scores are followed while the reference is changed. *Shift*, the one that is explained, along its own direction:
    ``<d(x'), d(x)> / <d(x), d(x)>``, 1 on the whole picture, with ``d`` what the text changes. *Retrieval*: 1 where the
    query ``f(x')`` is nearest to its own target among ``candidates``, else 0.

    Args:
        composer: The model.
        tensors: What its ``forward`` takes, with targets; ``n`` samples.
        kinds: Which maps.
        candidates: Unit embeddings to choose among, ``(n, G, D)``, the right one first.
        steps: Steps of the curves.
        batch: Pictures that go through the model together.
        seed: Of random orders and random weights.

    Returns:
        For each kind its figures.
    """
    pictures, here = tensors["pixel_values"], torch.zeros(len(tensors["pixel_values"]), dtype=torch.bool)
    here = here.to(pictures.device)
    grids, output = draw_maps(composer, tensors, here, kinds)
    shift = output.shift
    length = shift.square().sum(-1).clamp(min=torch.finfo(shift.dtype).tiny)

    def followed(changed: Tensor, index: Tensor) -> Tensor:
        found = composer(pixel_values=changed, **kept_words(tensors, index))
        along = (found.shift * shift[index]).sum(-1) / length[index]
        near = (F.normalize(found.embedding, dim=-1)[:, None] * candidates[index]).sum(-1)
        first = (near[:, 0] > near[:, 1:].amax(1)).to(along)
        return torch.stack([along, first], 1)

    results = {}
    with undisturbed(composer, tensors):
        for kind, maps in grids.items():
            curves = deletion_insertion(followed, pictures, maps, steps=steps, batch=batch, seed=seed)
            gains = {"deletion": curves.deletion_gain, "insertion": curves.insertion_gain}
            areas = {"deletion": curves.deletion, "insertion": curves.insertion}

            def again(model: Any, kind: MapKind = kind) -> Tensor:
                return draw_maps(model, tensors, here, [kind])[0][kind]

            results[kind] = Faithfulness(
                shift={name: values[:, 0] for name, values in gains.items()},
                retrieval={name: values[:, 1] for name, values in gains.items()},
                areas=areas,
                randomized=parameter_randomization(composer, again, seed=seed)["all"],
            )
    return results
