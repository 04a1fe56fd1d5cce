"""Faithfulness of a composer's maps on reference images: deletion, insertion and randomized weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention.running.undisturbed import undisturbed
from mmgrad_explain.evaluation.maps import draw_maps
from mmgrad_explain.metrics.faithfulness import deletion_insertion, parameter_randomization
from mmgrad_explain.metrics.similarities import own_similarities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.maps import MapKind


def collect_candidates(targets: Tensor, references: Tensor, group: Tensor) -> Tensor:
    """Collect each query's candidates: its own target first, then its image's other targets, then the image itself.

    Args:
        targets: ``(N, D)``.
        references: ``(N, D)``.
        group: The image that each query belongs to, ``(N,)``.

    Returns:
        ``(N, G, D)``; where an image has fewer targets than others, the image itself is repeated.
    """
    rows = []
    for i in range(len(targets)):
        siblings = ((group == group[i]) & (torch.arange(len(group), device=group.device) != i)).nonzero()[:, 0]
        rows.append(torch.cat([targets[i : i + 1], targets[siblings], references[i : i + 1]]))
    longest = max(map(len, rows))
    return torch.stack([torch.cat([row, row[-1:].expand(longest - len(row), -1)]) for row in rows])


@dataclass(frozen=True)
class Faithfulness:
    """Whether maps show what the model depends on, for ``n`` samples; see :mod:`mmgrad_explain.metrics.faithfulness`.

    Attributes:
        shift: Gains over a random order for the score that the map explains, as a share of its value on the whole
            image: ``"deletion"`` and ``"insertion"``, each ``(n,)``.
        retrieval: Likewise for whether the right target is found among the query's candidates.
        areas: The areas under the curves themselves, by name, ``(n, 2)``: shift, retrieval.
        randomized: Rank correlation of the maps with those of the model with random weights, ``(n,)``.
    """

    shift: dict[str, Tensor]
    retrieval: dict[str, Tensor]
    areas: dict[str, Tensor]
    randomized: Tensor


def measure_faithfulness(
    composer: Composer,
    tensors: dict[str, Tensor],
    kinds: Sequence[MapKind],
    candidates: Tensor,
    *,
    steps: int = 10,
    batch: int = 64,
    seed: int = 0,
) -> dict[MapKind, Faithfulness]:
    """Measure deletion, insertion and randomized weights for maps on reference images.

    Two scores are followed while the reference is changed. *Shift*, the score that is explained, along its own
    direction: ``<d(x'), d(x)> / <d(x), d(x)>`` with ``d`` what the text changes; it is 1 on the whole image.
    *Retrieval*: 1 where the query ``f(x')`` is nearest to its own target among ``candidates``, else 0.

    Args:
        composer: The composer.
        tensors: The arguments of its ``forward``, with targets; ``n`` samples.
        kinds: The maps to measure.
        candidates: Unit embeddings of each query's candidates, ``(n, G, D)``, the right one first.
        steps: Steps of the curves.
        batch: Images that go through the composer together.
        seed: Seed of random orders and random weights.

    Returns:
        The figures of each kind.
    """
    images = tensors["pixel_values"]
    on_target = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    texts = {name: value for name, value in tensors.items() if not name.endswith("pixel_values")}
    grids, output = draw_maps(composer, tensors, on_target, kinds)
    shift = output.shift
    length = shift.square().sum(-1).clamp(min=torch.finfo(shift.dtype).tiny)

    def score(changed: Tensor, index: Tensor) -> Tensor:
        found = composer(pixel_values=changed, **{name: value[index] for name, value in texts.items()})
        along = (found.shift * shift[index]).sum(-1) / length[index]
        near = own_similarities(F.normalize(found.embedding, dim=-1), candidates[index])
        first = (near[:, 0] > near[:, 1:].amax(1)).to(along)
        return torch.stack([along, first], 1)

    results = {}
    with undisturbed(composer, tensors):
        for kind, maps in grids.items():
            curves = deletion_insertion(score, images, maps, steps=steps, batch=batch, seed=seed)
            gains = {"deletion": curves.deletion_gain, "insertion": curves.insertion_gain}
            areas = {"deletion": curves.deletion, "insertion": curves.insertion}

            def explain(model: Any, kind: MapKind = kind) -> Tensor:
                return draw_maps(model, tensors, on_target, [kind])[0][kind]

            results[kind] = Faithfulness(
                shift={name: values[:, 0] for name, values in gains.items()},
                retrieval={name: values[:, 1] for name, values in gains.items()},
                areas=areas,
                randomized=parameter_randomization(composer, explain, seed=seed)["all"],
            )
    return results
