"""The text side of Grad-ECLIP: what the token by which a text is read takes from each token, for the score.

Source: Zhao et al., Grad-ECLIP: Gradient-based Visual and Textual Explanations for CLIP, arXiv 2502.18816 (ICML 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.attention.attention_layers.sites import AttentionSite, find_attention_sites
from mmgrad_explain.attention.gradient import differentiate
from mmgrad_explain.attention.methods.attention.grad_eclip import ensure_seen, join_heads, loosen_attention
from mmgrad_explain.attention.methods.attention.image_attention import check_blocks
from mmgrad_explain.attention.recording.attention_calls import AttentionCall, AttentionRecorder
from mmgrad_explain.attention.running.forward_modes import run_eagerly
from mmgrad_explain.attention.running.modules import find_modules, unwrap
from mmgrad_explain.attention.running.structures import as_arguments
from mmgrad_explain.attention.running.undisturbed import detach_inputs, undisturbed
from mmgrad_explain.attention.scores.checks import ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score, mention_guess
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.errors import GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn


def word_relevance(
    model: nn.Module,
    inputs: Any,
    *,
    score: str | Callable[[Any], Any] | None = None,
    blocks: int = 1,
    among: Tensor | None = None,
) -> Tensor:
    """Compute ``sum_c g_c lambda_i v_ic`` for every token of a text, signed.

    ``g = ds/do`` is the score's gradient at the attention output ``o`` of the token by which the text is read (CLIP's
    end token), ``v_i`` the value of token i, and ``lambda_i`` the cosine of the end token's query with the key of token
    i, scaled so that it goes from 0 to 1 over the tokens that it attends to. Several blocks add up. The paper cuts the
    result at 0 and keeps the words between start and end.

    Args:
        model: Any model with a text tower of its own, read at one token.
        inputs: Its arguments, image and text: a mapping by name, a tuple in order.
        score: As for :class:`~mmgrad_explain.attention.mmgrad.MMGrad`.
        blocks: How many of the last blocks of the text tower add up, at most.
        among: (B, L) bool, the tokens over which the attention is scaled, such as the words alone; others get 0.

    Returns:
        (B, L), float32 (float64 stays), in the order of the token ids.

    Raises:
        TypeError: ``model`` is no module, or ``blocks`` no whole number.
        InputError: the model has no text tower of its own, or reads it at several tokens.
        CaptureError: the queries, keys or values of a block were not seen.
        GradientError: the gradient cannot be taken.
    """
    check_blocks(blocks, none=False)
    root = unwrap(model)
    own = None if score is None else ensure_score(score)
    with undisturbed(root, inputs):
        args, kwargs = as_arguments(detach_inputs(inputs))
        names = _find_text_blocks(find_attention_sites(root, args, kwargs, own))[-blocks:]
        with run_eagerly(), AttentionRecorder(find_modules(root, names)) as recorder:
            output = root(*args, **kwargs)
            recorder.stop()
        scorer = choose_score(root, own, output)
        with mention_guess(scorer):
            values = _add_up(ensure_per_sample(scorer(output)), [ensure_seen(call) for call in recorder.calls], among)
    return values.detach()


def _find_text_blocks(sites: Sequence[AttentionSite]) -> list[str]:
    """Find the blocks of a text tower that the score depends on, in the order in which they run."""
    own = [site for site in sites if site.is_self and site.reached and site.keys_from_text and site.reads_no_image]
    if not own:
        raise InputError(
            "word_relevance: the model has no attention among the tokens of a text alone that the score depends on: "
            "explain(words=True) measures words of any model"
        )
    return list(dict.fromkeys(site.block for site in own if site.keys == own[-1].keys))


def _add_up(score: Tensor, calls: Sequence[AttentionCall], among: Tensor | None) -> Tensor:
    outputs: list[Any] = [call.output for call in calls]
    gradients = [gradient for gradient in differentiate(score, outputs) if gradient is not None]
    if len(gradients) < len(calls):
        raise GradientError("word_relevance: the score does not depend on the attention of the text tower")
    joined = [join_heads(gradient) for gradient in gradients]
    read = _find_end(joined[-1])
    rows = torch.arange(len(read), device=read.device)
    values: Any = 0
    for call, gradient in zip(calls, joined, strict=True):
        queries, keys, of_tokens = (join_heads(part) for part in (call.queries, call.keys, call.values))
        seen = call.probabilities.detach()[rows, :, read].amax(1) > 0
        seen = seen if among is None else seen & among.to(seen.device)
        loosened = loosen_attention(queries[rows, read], keys, seen)
        values = values + torch.einsum("bc,bi,bic->bi", gradient[rows, read], loosened, of_tokens)
    return values  # type: ignore[no-any-return]


def _find_end(gradient: Tensor) -> Tensor:
    """Find the token by which each text is read, (B,): the one with a gradient in the last block."""
    size = gradient.abs().amax(2)
    if bool((size.count_nonzero(1) > 1).any()):
        raise InputError(
            "word_relevance: the text is read at several tokens (their mean, or another part attends to them), not at "
            "an end token: explain(words=True) measures words of any model"
        )
    return size.argmax(1)
