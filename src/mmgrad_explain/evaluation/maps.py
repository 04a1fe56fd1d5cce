"""Maps of a composer for an evaluation: which kinds there are, and drawing several of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.running.undisturbed import undisturbed
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.composers.outputs import ComposedOutput, check_parts, convert_parts, reference_alone
from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.explanation.sides import call_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.composers.base import Composer

IMAGE_ONLY = "image only"
"""Name of the score that ignores the text: plain Grad-CAM of the image's own embedding."""


DEFAULT = "default"
"""Name of the method of a composer that names none: the one for models of its kind."""


@dataclass(frozen=True)
class MapKind:
    """The score and the method of a map.

    Attributes:
        score: Name of the score: ``"shift"``, ``"similarity"``, ``"pair"``, ``"pair-different"`` or
            :data:`IMAGE_ONLY`.
        method: Name of the method, for example of a weighting, or :data:`DEFAULT`.
    """

    score: str
    method: str

    @property
    def name(self) -> str:
        """The name in tables, such as ``"shift, gradcam"``."""
        return f"{self.score}, {self.method}"


def default_kind(composer: Composer) -> MapKind:
    """Return the kind of a composer's default maps."""
    return MapKind(composer.default_score or "shift", composer.default_method or DEFAULT)


def image_only(output: ComposedOutput) -> Tensor:
    """Score the images' own embeddings, without any text: ``<z, sg(z)>`` of reference and target, ``(B,)``.

    Raises:
        InputError: The output has no ``shift``, so that the text cannot be removed from its embedding.
    """
    if output.shift is None:
        raise InputError(f"score {IMAGE_ONLY!r} needs an output with .shift, to take the text out of the embedding")
    own = reference_alone(output)
    score = (own * own.detach()).flatten(1).sum(1)
    return score if output.target is None else score + (output.target * output.target.detach()).flatten(1).sum(1)


def _scorer(name: str) -> Callable[[Any], Tensor]:
    return image_only if name == IMAGE_ONLY else ensure_score(name)


class MapDrawer:
    """Draws maps of several kinds, batch by batch, as a call of the composer's explanation does.

    All kinds that read target layers share one forward, with one gradient for each score and side. Each other kind, of
    attention, of reruns or chosen by the model, takes a call of its own; what that finds out about the model is kept.

    Args:
        composer: The composer; it is left unchanged.
        kinds: The maps to draw.
    """

    def __init__(self, composer: Composer, kinds: Sequence[MapKind]) -> None:
        self.composer = composer
        self.kinds = list(dict.fromkeys(kinds))
        self._mmgrad = MultiModalGradAttention(composer)
        self._calls = {
            kind: MultiModalGradAttention(
                composer, score=_scorer(kind.score), method=None if kind.method == DEFAULT else kind.method
            )
            for kind in self.kinds
            if kind.method == DEFAULT or not ensure_method(kind.method).needs.of_layers_alone
        }
        self._recorded = [kind for kind in self.kinds if kind not in self._calls]

    def draw(self, tensors: dict[str, Tensor], on_target: Tensor) -> tuple[dict[MapKind, Tensor], ComposedOutput]:
        """Draw the maps of a batch.

        Args:
            tensors: Arguments of the composer's forward.
            on_target: The samples whose map is taken on the target image, ``(B,)`` bool.

        Returns:
            ``(B, h, w)`` for each kind, on its own grid, and the composer's output, detached.

        Raises:
            InputError: A map of a target's shift is asked for, and the output has no ``target_shift``.
        """
        sides = [side for side in (0, 1) if bool((on_target == bool(side)).any())]
        grids: dict[MapKind, Tensor] = {}
        with undisturbed(self.composer, tensors):
            if self._recorded:
                with self._mmgrad.capture(math_attention=False) as seen:
                    output = self.composer(**tensors)
            else:
                with torch.no_grad():
                    output = self.composer(**tensors)
            if 1 in sides and any(kind.score == "shift" for kind in self.kinds):
                check_parts(output, ("target_shift",), "to be explained on targets")
            for name in dict.fromkeys(kind.score for kind in self._recorded):
                of_score = [kind for kind in self._recorded if kind.score == name]
                score = _scorer(name)(output)
                methods = [kind.method for kind in of_score]
                drawn = [self._mmgrad.attend(score, seen, call=side, method=methods).detach() for side in sides]
                grids.update(zip(of_score, _choose_side(drawn, on_target[None]), strict=True))
        for kind, call in self._calls.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MMGradWarning)  # empty maps are counted
                found = call(**tensors)
            grids[kind] = _choose_side([found.calls[call_of(found, target=bool(side))] for side in sides], on_target)
        return {kind: grids[kind] for kind in self.kinds}, convert_parts(output, Tensor.detach)


def _choose_side(drawn: Sequence[Tensor], on_target: Tensor) -> Tensor:
    return drawn[0] if len(drawn) == 1 else torch.where(on_target[..., None, None], drawn[1], drawn[0])


def draw_maps(
    composer: Composer, tensors: dict[str, Tensor], on_target: Tensor, kinds: Sequence[MapKind]
) -> tuple[dict[MapKind, Tensor], ComposedOutput]:
    """Draw the maps of a single batch; see :meth:`MapDrawer.draw`."""
    return MapDrawer(composer, kinds).draw(tensors, on_target)


def find_disjoint_pairs(masks: Tensor, group: Tensor, usable: Tensor) -> Tensor:
    """Find the ordered pairs of texts about one image whose regions have no pixel in common.

    Args:
        masks: The region of each text, ``(B, H, W)`` bool.
        group: The image that each text is about, ``(B,)``.
        usable: Which texts may take part, ``(B,)`` bool.

    Returns:
        ``(P, 2)`` indices; every pair in both orders.
    """
    flat = masks.flatten(1).float()
    usable = usable & (flat.sum(1) > 0)
    apart = (flat @ flat.T == 0) & (group[:, None] == group[None]) & usable[:, None] & usable[None]
    return apart.nonzero()


def unit_embeddings(output: ComposedOutput) -> tuple[Tensor, Tensor, Tensor]:
    """Return the unit embeddings ``(B, D)`` of queries, target images and reference images.

    Raises:
        InputError: The output has no ``shift`` or no ``target``.
    """
    if output.shift is None or output.target is None:
        raise InputError("an evaluation needs a composer whose output has .shift and .target")
    every = (output.embedding, output.target, reference_alone(output))
    return tuple(F.normalize(one, dim=-1) for one in every)  # type: ignore[return-value]
