"""The attention that carries an image's tokens to the score: which of it counts, which tokens the score reads."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, find_attention_flow
from mmgrad_explain.attention.gradient import differentiate
from mmgrad_explain.attention.methods.attention.image_attention import tokens_to_map
from mmgrad_explain.attention.methods.base import MethodMaps
from mmgrad_explain.errors import CaptureError, GradientError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.attention_layers.sites import AttentionSite
    from mmgrad_explain.attention.methods.run import Run
    from mmgrad_explain.attention.recording.attention_calls import AttentionCall
    from mmgrad_explain.notes import Note


def select_streams(sites: Sequence[AttentionSite], method: str) -> list[AttentionSite]:
    """Select the attention between the tokens of an image and the score.

    This is the self-attention of the image's tokens and all attention that reads them. Where a text reads them too, the
    text's own attention belongs to it. Where the image's tokens join those of the text in one sequence, that begins
    there: a tower that made them before is left out.

    Args:
        sites: All attention of a model.
        method: Name of the method, for the message.

    Raises:
        InputError: no attention among tokens that lie on an image was seen.
    """
    reached = [site for site in sites if site.reached]
    placed = [site for site in reached if site.tokens_of is not None]
    if not placed:
        why = (
            "none of it is among tokens that lie on an image (windows, merged tokens, patches in a random order)"
            if reached
            else "none was seen (a convolutional network, or a kernel of another package)"
        )
        raise InputError(
            f"method {method!r} needs the attention of an image's tokens, and this model has none: {why}. 'layercam' "
            "and 'gradcam' need only a layer with a grid"
        )
    joined = {site.keys for site in placed if site.is_self and site.keys_from_text}
    if joined:
        reached = [site for site in reached if not _is_tower(site) or site.keys in joined]
    if any(_mixes(site) for site in reached):
        return reached
    return [site for site in reached if site.queries_from_image or site.keys_from_image]


def _is_tower(site: AttentionSite) -> bool:
    return site.keys_from_image and not site.keys_from_text and not site.queries_from_text


def _mixes(site: AttentionSite) -> bool:
    from_image = site.queries_from_image or site.keys_from_image
    return from_image and (site.queries_from_text or site.keys_from_text)


@dataclass(frozen=True)
class TokenStreams:
    """The recorded attention of one forward, and how it leads to the score.

    Attributes:
        calls: The attention, in the order in which it ran.
        outputs: What each call returned, (B, H, N, d).
        flow: How the calls read one another.
    """

    calls: tuple[AttentionCall, ...]
    outputs: tuple[Tensor, ...]
    flow: AttentionFlow

    @property
    def last(self) -> list[int]:
        """For each entry of ``flow.read`` the last call that has added to all tokens of the stream."""
        found = []
        for tokens in self.flow.read:
            whole = [call for call in tokens.made_by if self.flow.queries[call].rows is None]
            found.append(max(whole or tokens.made_by))
        return found

    def rows(self, run: Run, known: Mapping[int, Tensor | None] | None = None) -> list[Tensor]:
        """Find which tokens the score reads: those at which the last attention's output has a gradient.

        The gradient is the direct one, past all later attention.

        Args:
            run: The forward.
            known: The gradient at the output of the very last call, by its number, if it was taken already.

        Returns:
            (B, N) for each entry of ``flow.read``: each row sums to 1, or is 0 where a sample's score reads none.
        """
        return [self._rows_of(last, (known or {}).get(last), run) for last in self.last]

    def _rows_of(self, last: int, gradient: Tensor | None, run: Run) -> Tensor:
        if gradient is None:
            with contextlib.ExitStack() as stack:
                for output in self.outputs[last + 1 :]:
                    if output.requires_grad:
                        stack.callback(output.register_hook(torch.zeros_like).remove)  # type: ignore[no-untyped-call]
                (gradient,) = differentiate(run.score, [self.outputs[last]], retain_graph=True)
        if gradient is None:
            raise GradientError("the score does not depend on what attention made: choose another score")
        read = (gradient.detach() != 0).any(-1).any(1).to(gradient.dtype)
        rows = self.flow.spread_queries(last, read)
        return rows / rows.sum(-1, keepdim=True).clamp(min=1)


def find_streams(run: Run, method: str) -> TokenStreams:
    """Find how the recorded attention leads to the score.

    Args:
        run: The forward.
        method: Name of the method, for messages.

    Raises:
        CaptureError: nothing was recorded, or not all of an attention was seen.
        InputError: an attention does not run on one sequence a sample.
        GradientError: the score reads none of it.
    """
    calls = run.attention
    if not calls:
        raise CaptureError(
            f"method {method!r}: no attention ran in this forward: run the model as in the call in which it was found"
        )
    rows = len(calls[0].probabilities)
    for call in calls:
        if call.output is None:
            raise CaptureError(
                f"the attention of {call.block!r} was seen only in part: what it does with its probabilities is no "
                "matrix product of torch. 'layercam' and 'gradcam' need no attention"
            )
        if len(call.probabilities) != rows or rows % len(run.score):
            raise InputError(
                f"method {method!r}: the attention of {call.block!r} runs on {len(call.probabilities)} sequences for "
                f"{len(run.score)} samples (windows, or images packed together), so that no token can be followed "
                "through it. 'layercam' and 'gradcam' need only a layer with a grid"
            )
    flow = find_attention_flow(calls, run.score)
    if not flow.read:
        raise GradientError(f"method {method!r}: the score reads nothing that attention made: choose another score")
    return TokenStreams(tuple(calls), tuple(call.output for call in calls if call.output is not None), flow)


def make_stream_maps(
    run: Run,
    streams: TokenStreams,
    carried: Sequence[Mapping[int, Tensor]],
    notes: tuple[Note, ...] = (),
    *,
    known: Mapping[int, Tensor | None] | None = None,
    with_identity: bool = False,
) -> MethodMaps:
    """Make the maps of what the tokens that the score reads carry of the first tokens of each image.

    Args:
        run: The forward.
        streams: Its attention.
        carried: For each entry of ``streams.flow.read`` the stream to (B, N, its number of tokens).
        notes: Of the method.
        known: As for :meth:`TokenStreams.rows`.
        with_identity: Whether the tokens of a stream carry an identity of their own. Where the score reads all places
            of an image alike, it is the same at each of them and left out.

    Returns:
        Under the name of the last block of each image's tokens one map for each call of it.

    Raises:
        InputError: no attention that leads to the score is among tokens that lie on an image.
    """
    totals: dict[int, Tensor] = {}
    direct: dict[int, Tensor] = {}
    for tokens, rows, relevancies in zip(streams.flow.read, streams.rows(run, known), carried, strict=True):
        if with_identity:
            direct[tokens.stream] = rows
        for stream, relevancy in relevancies.items():
            row = (rows.to(relevancy.dtype)[:, None] @ relevancy)[:, 0]
            totals[stream] = totals[stream] + row if stream in totals else row
    places = _find_places(run, streams)
    signed: dict[str, list[Tensor]] = {}
    reached: dict[str, list[bool]] = {}
    for name in dict.fromkeys(name for name, _ in places.values()):
        of_calls = {call: stream for stream, (block, call) in places.items() if block == name}
        maps = []
        for number, record in enumerate(run.seen.calls(name)):
            stream = of_calls.get(record.call, -1)
            found = _map_of(run, name, number, totals.get(stream))
            same = _map_of(run, name, number, direct.get(stream))
            maps.append(found if found is None or same is None else found - same.amin((1, 2), keepdim=True).to(found))
        if any(one is not None for one in maps):
            reached[name] = [one is not None for one in maps]
            some = next(one for one in maps if one is not None)
            signed[name] = [torch.zeros_like(some) if one is None else one for one in maps]
    if not signed:
        raise InputError(
            "what the score reads comes by attention from no tokens whose places on an image are known. Where an "
            "image's tokens join words in one sequence, open the model with load_composer, which knows them; "
            "'layercam' and 'gradcam' need only a layer with a grid"
        )
    of_images = run.image_of_calls
    return MethodMaps(
        signed,
        {name: [*run.layouts[name]] for name in signed},
        None if of_images is None else {name: of_images[name] for name in signed},
        reached,
        notes,
    )


def _find_places(run: Run, streams: TokenStreams) -> dict[int, tuple[str, int]]:
    """Find for each stream whose tokens lie on an image the last block, and its call, whose output tokens are these."""
    tokens_of = {(site.block, site.call, site.index): site.tokens_of for site in run.sites}
    found: dict[int, tuple[str, int]] = {}
    for call, queries, keys in zip(streams.calls, streams.flow.queries, streams.flow.keys, strict=True):
        name = tokens_of.get((call.block, call.call, call.index))
        if name is not None and name in run.layouts and queries.stream == keys.stream:
            found[keys.stream] = name, call.call
    return found


def _map_of(run: Run, name: str, number: int, values: Tensor | None) -> Tensor | None:
    if values is None:
        return None
    record = run.seen.calls(name)[number]
    if record.activation.shape[:2] == values.T.shape != values.shape:  # the sequence is the first dimension
        values = values.T
    return tokens_to_map(values, run.layouts[name][number], record.rows)
