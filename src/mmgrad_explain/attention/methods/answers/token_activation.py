"""Token activation maps: where an image activates a token of an answer more than the tokens before it explain.

A model that answers in words could name a token at every position of its sequence, at those of the image too. The map
of a token is its logit there, less the share that the tokens before it explain, and filtered. One forward has the maps
of all tokens of an answer; nothing is differentiated, and no attention is read.

Source: Li et al., Token Activation Map to Visually Explain Multimodal LLMs, ICCV 2025, arXiv 2506.23270: the activation
of a token at every position, the estimated causal inference (least squares), and the rank Gaussian filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mmgrad_explain.attention.layouts.layout import fold_map, to_grid
from mmgrad_explain.attention.methods.answers.language_model import find_answer_layers, find_positions
from mmgrad_explain.attention.methods.base import MethodMaps, NamedModules, Needs
from mmgrad_explain.errors import CaptureError, InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmgrad_explain.attention.layouts.layout import AnyLayout
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.model_hints import AnswerPositions

NAME = "token-activation"

_SIDE = 3  # of the filter's window, as in the paper


def _name_modules(model: nn.Module, layers: tuple[str, ...] | None) -> NamedModules:
    hidden = find_answer_layers(model, NAME).hidden
    if layers is not None and layers != (hidden,):
        raise InputError(
            f"layer: {NAME!r} reads what the output embedding reads, {hidden!r}, and no other layer: leave layer out"
        )
    return NamedModules(layers=(hidden,))


class TokenActivation:
    """The mean of the token activation maps of the answer's tokens that the score counts.

    For a map of each word, explain parts of the answer: they share one forward.
    """

    name = NAME
    differentiable = False
    needs = Needs(named=_name_modules, gradient=False)

    def maps(self, run: Run) -> MethodMaps:
        """Make the maps of one forward.

        Raises:
            InputError: the model does not tell where its answers lie.
            CaptureError: as :func:`map_tokens`.
        """
        positions = find_positions(run, NAME)
        name = find_answer_layers(run.root, NAME).hidden
        (record,), (layout,) = run.seen.calls(name), run.layouts[name]
        hidden = record.activation.detach()
        with torch.no_grad():
            maps = [map_tokens(hidden, positions, layout, sample).mean(0) for sample in range(len(hidden))]
        return MethodMaps({name: [torch.stack(maps)]}, {name: [layout]})


def subtract_interference(activations: Tensor, earlier: Tensor, weights: Tensor) -> Tensor:
    """Subtract from activations the share of them that those of earlier tokens explain.

    With the mixture ``m = sum_i w_i e_i`` of the earlier tokens' activations (the weights sum to 1) and the
    least-squares share ``c = <a, m> / <m, m>``, the result is ``relu(a - c m)``.

    Args:
        activations: (K, N), of K tokens at N places of the image, none of them negative.
        earlier: (T, N), those of all tokens.
        weights: (K, T), how strongly each of them activates each of the K tokens; 0 for those that do not count.

    Returns:
        (K, N). Activations that nothing explains are kept.
    """
    tiny = torch.finfo(activations.dtype).tiny
    mixture = (weights / weights.sum(1, keepdim=True).clamp(min=tiny)) @ earlier
    share = (activations * mixture).sum(1, keepdim=True) / mixture.square().sum(1, keepdim=True).clamp(min=tiny)
    return (activations - share * mixture).relu()


def token_activations(image: Tensor, text: Tensor, ids: Tensor, wanted: Tensor) -> Tensor:
    """Compute what the image alone activates of some tokens of a text.

    Earlier tokens with the id of the token itself count as no interference: they are the same word. Activations of
    image and text are scaled together: 0 is the smallest and 1 the largest of both, so that a map is dark where the
    words before a token activate it more than the image does.

    Args:
        image: (N, T), the logit of each token of question and answer at N places of the image.
        text: (T, K), the logits of the K wanted tokens at the tokens of question and answer: at a token of the question
            itself, and for a token of the answer where the model predicts it.
        ids: (T,), the tokens.
        wanted: (K,), which of them.

    Returns:
        (K, N), in [0, 1].
    """
    image, text = image.T.relu(), text.T.relu()
    before = torch.arange(len(ids), device=ids.device) < wanted[:, None]
    weights = text * (before & (ids != ids[wanted, None]))
    found = subtract_interference(image[wanted], image, weights)
    both = torch.cat([found, text], 1)
    counts = torch.cat([torch.ones_like(found, dtype=torch.bool), before], 1)
    low = both.masked_fill(~counts, torch.inf).amin(1, keepdim=True)
    high = both.masked_fill(~counts, -torch.inf).amax(1, keepdim=True)
    return (found - low) / (high - low).clamp(min=torch.finfo(found.dtype).tiny)


def rank_gaussian_filter(maps: Tensor) -> Tensor:
    """Filter noise: each value becomes a mean of the 3 x 3 values around it, weighted by their ranks.

    The weights are a Gaussian around the middle rank. Its standard deviation, in ranks, is the values' standard
    deviation over their mean: where neighbours agree the result is their median, where they differ nearly their mean.
    Values beyond the border are reflected.

    Args:
        maps: (B, h, w), none of the values negative.

    Returns:
        (B, h, w).
    """
    width, height = (min(_SIDE // 2, side - 1) for side in (maps.shape[2], maps.shape[1]))
    padded = functional.pad(maps[:, None], (width, width, height, height), mode="reflect")
    padded = functional.pad(padded, tuple(_SIDE // 2 - pad for pad in (width, width, height, height)), mode="replicate")
    windows = functional.unfold(padded, _SIDE).sort(1).values
    mean = windows.mean(1, keepdim=True)
    spread = windows.std(1, correction=0, keepdim=True) / mean.clamp(min=torch.finfo(maps.dtype).tiny)
    ranks = torch.arange(-(_SIDE**2 // 2), _SIDE**2 // 2 + 1, device=maps.device, dtype=maps.dtype)[:, None]
    weights = torch.exp(-ranks.square() / (2 * spread.square()).clamp(min=torch.finfo(maps.dtype).tiny))
    filtered = (windows * weights).sum(1) / weights.sum(1)
    return torch.where(mean[:, 0] > 0, filtered, 0).reshape(maps.shape)


def map_tokens(hidden: Tensor, positions: AnswerPositions, layout: AnyLayout, sample: int) -> Tensor:
    """Make the map of each token of an answer that counts.

    Args:
        hidden: What the output embedding reads, (B, L, D).
        positions: Where question and answer lie.
        layout: Of ``hidden`` on the images.
        sample: Which of them.

    Returns:
        (K, h, w) float32, in [0, 1].

    Raises:
        CaptureError: the model's own logits of the answer's tokens are others than those of ``hidden``.
    """
    question, answer = (
        mask[sample].nonzero()[:, 0].to(hidden.device) for mask in (positions.question, positions.answer)
    )
    tokens = torch.cat([question, answer])
    read_at = torch.cat([question, answer - 1])  # a token of the answer is where the model predicts it
    ids = positions.ids[sample].to(hidden.device)[tokens]
    grid = to_grid(hidden, layout)[sample]
    cells = grid.flatten(1).T
    logits = positions.token_logits(torch.cat([cells, hidden[sample, read_at]]), ids).float()
    image, text = logits[: len(cells)], logits[len(cells) :]
    _check_logits(text.diagonal()[len(question) :], positions.predicted[sample].to(text)[answer])
    wanted = positions.counted[sample].to(hidden.device)[tokens].nonzero()[:, 0]
    maps = token_activations(image, text[:, wanted], ids, wanted).reshape(-1, *grid.shape[1:])
    return rank_gaussian_filter(fold_map(maps, layout))


def _check_logits(computed: Tensor, own: Tensor) -> None:
    """Compare the logits of the answer's tokens with the model's own, which may be of half precision."""
    if not torch.allclose(computed, own, rtol=0.05, atol=0.05 * max(1.0, float(own.abs().max()))):
        raise CaptureError(
            f"method: {NAME!r}: the output embedding gives other logits than the model itself, which may scale "
            "or limit them: take another method, such as 'gradcam'"
        )
