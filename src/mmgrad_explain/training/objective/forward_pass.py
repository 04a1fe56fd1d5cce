"""The composer's forward passes of a training step: embeddings for retrieval, and maps from the same graph.

A composer in stages encodes each image once; retrieval and maps share its features. Any other composer is run by its
``forward``, as is one in stages whose maps need more than the explained layer: another score than the shift, or a
method that looks at attention.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention.methods.named import ensure_differentiable
from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.composers.model_capabilities import capabilities, check_has_maps_of, look_layer_of
from mmgrad_explain.composers.outputs import check_parts, convert_parts, reference_alone
from mmgrad_explain.composers.recomputation import recompute_activations
from mmgrad_explain.training.held_out_figures import inputs_of
from mmgrad_explain.training.objective.options import ATTENTION_TERMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from mmgrad_explain.attention.recording.capture import Capture
    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.composers.contract import Text, TrainingStages
    from mmgrad_explain.data.batches.batch import TripletBatch
    from mmgrad_explain.training.feature_cache import FeatureCache, KeptCall
    from mmgrad_explain.training.kept_maps import KeptMaps
    from mmgrad_explain.training.objective.options import ObjectiveOptions
    from mmgrad_explain.training.objective.supervision import Rows

    Record: TypeAlias = Capture | list[KeptCall]

CHUNK = 32
"""Images that are encoded together with gradient checkpointing."""


@dataclass(frozen=True)
class Features:
    """Features of images, of a composer in stages.

    Attributes:
        values: In float32, batch first.
        kept: What makes maps of the images where the features came from a cache; None where maps are made of the layer
            in :meth:`ForwardPass.compose`.
    """

    values: Tensor
    kept: KeptMaps | None = None

    def take(self, rows: Tensor) -> Features:
        """Return those of some of the images."""
        return Features(self.values[rows], None if self.kept is None else self.kept.take(rows))


@dataclass(frozen=True)
class Forward:
    """Results of the forward pass of a batch.

    Attributes:
        query: Composed embeddings, ``(N, D)``, normalised.
        gallery: Embeddings of targets, then of references, ``(N + S, D)``, normalised.
        shift: What each text adds to the embedding, ``(N, D)``.
        change: Embedding of the target minus embedding of the reference, ``(N, D)``.
        maps: Signed maps of the rows, ``(W, R, h, w)``; None without.
        attention: Logits of the composer's attention for the rows, ``(R, H, n)``, by term.
        features: Of the references, then of the targets, from a composer in stages; None if it was run as a whole.
        output: What the composer gave where it was run as a whole; None in stages.
    """

    query: Tensor
    gallery: Tensor
    shift: Tensor
    change: Tensor
    maps: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)
    features: Features | None = None
    output: Any = None


class ForwardPass:
    """Runs a composer on the batches of a training.

    Args:
        composer: The composer that is trained.
        options: Of the loss: what the maps explain, and how they are made.

    Raises:
        InputError: The composer has no maps of the score, names no layer of a supervised attention, or cannot
            recompute its activations.

    Attributes:
        score: What the maps explain.
        methods: How they are made.
        stages: The composer, if it can be run in stages.
        attention_layers: Term to the layer of the composer's own attention that it supervises.
        checkpointing: Whether the encoder's activations are recomputed here, not by the composer itself.
        cache: Keeps the features of a frozen encoder; None encodes every image anew.
    """

    def __init__(self, composer: Composer, options: ObjectiveOptions) -> None:
        grounding = options.grounding
        self.composer = composer
        self.precision = options.precision
        self.score = ensure_score(grounding.score)
        self.methods = [ensure_differentiable(name, "grounding.method") for name in grounding.methods]
        self.stages: TrainingStages | None = capabilities(composer).training_stages
        self.attention_layers = {
            term: look_layer_of(composer, term) for term in ATTENTION_TERMS if getattr(grounding, term)
        }
        if grounding.supervises_maps:
            check_has_maps_of(composer, self.score.name)
        self.checkpointing = options.gradient_checkpointing and not recompute_activations(composer)
        self.cache: FeatureCache | None = None
        self._mmgrad: MultiModalGradAttention | None = None

    def in_stages(self, *, maps: bool) -> TrainingStages | None:
        """Return the stages to run the composer by; None if it has to be run as a whole."""
        enough = self.score.name == "shift" and all(method.needs.of_layers_alone for method in self.methods)
        return self.stages if enough or not maps else None

    def run(self, batch: TripletBatch, rows: Rows, *, maps: bool) -> Forward:
        """Run the composer on a batch.

        Args:
            batch: The batch.
            rows: The triplets with a map.
            maps: Whether to make the maps.
        """
        stages = self.in_stages(maps=maps)
        if stages is None:
            return self._run_as_a_whole(batch, rows, maps=maps)
        features = self.encode(torch.cat([batch.references, batch.targets]))
        return self._run_in_stages(stages, batch, features, rows, maps=maps)

    def encode(self, pixels: Tensor) -> Features:
        """Return the features of images, by a composer in stages."""
        stages = cast("TrainingStages", self.stages)
        with self.autocast(pixels.device):
            if self.cache is not None:
                values, kept = self.cache.read(pixels)
                return Features(values.float(), kept)
            if not (self.checkpointing and torch.is_grad_enabled()):
                return Features(stages.encode_image(pixels).float())
            parts = [checkpoint(stages.encode_image, part, use_reentrant=False) for part in torch.split(pixels, CHUNK)]
        return Features(torch.cat(parts).float())

    def encode_text(self, ids: Tensor, attention_mask: Tensor) -> Text:
        """Encode texts by a composer in stages."""
        with self.autocast(ids.device, "bf16-composer"):
            return cast("TrainingStages", self.stages).encode_text(ids, attention_mask)

    def compose(self, features: Features, text: Text, *, maps: bool) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Compose images with their texts: maps, shifts, and the logits of the composer's own attention."""
        stages = cast("TrainingStages", self.stages)
        values, kept = features.values, features.kept
        if maps and kept is not None:
            values = values.detach().requires_grad_()
        recording = self.mmgrad().capture() if maps else nullcontext()
        with recording as record, self.autocast(values.device, "bf16-composer"), self._attention() as found:
            shift = stages.compose(values, text).shift
        shift = shift.float()
        drawn = None
        if record is not None:
            whole: Record = record if kept is None else [(kept, [values])]
            drawn = self.attend((shift * shift.detach()).sum(-1), whole, 0)
        return drawn, shift, {term: logits[0] for term, logits in found.items()}

    def compose_whole(self, inputs: dict[str, Tensor], *, maps: bool) -> tuple[Any, Record | None]:
        """Run the composer as a whole, and record what the maps are made of if there are to be maps."""
        pixels, cache = inputs["pixel_values"], self.cache
        if cache is not None:
            cache.check(pixels)
        recording = self.mmgrad(inputs).capture() if maps else nullcontext()
        with recording as record, self.autocast(pixels.device):
            if not maps or cache is None or not cache.prepares:
                with self.with_cache():
                    return self.composer(**inputs), record
            with cache.recorded() as calls:
                return self.composer(**inputs), calls

    def with_cache(self) -> AbstractContextManager[None]:
        """Return a block inside which the composer takes features from the cache, if there is one."""
        return nullcontext() if self.cache is None else self.cache.used()

    def measure(self, output: Any) -> Tensor:
        """Compute the score of an output of the whole composer, ``(B,)``, in float32."""
        with torch.autocast(output.embedding.device.type, enabled=False):
            return self.score(output)

    def attend(self, score: Tensor, record: Record, call: int) -> Tensor:
        """Make the signed maps of a recorded forward, ``(W, B, h, w)``, differentiable."""
        if isinstance(record, list):  # of kept features
            kept, features = record[call]
            return kept.attend(score, features)
        replays = any(method.needs.replay for method in self.methods)  # the model's head runs again, as it ran before
        with self.autocast(score.device) if replays else nullcontext():
            return self.mmgrad().attend(
                score, record, create_graph=True, call=call, method=list(self.methods), relu=False
            )

    def mmgrad(self, inputs: dict[str, Tensor] | None = None) -> MultiModalGradAttention:
        """Return what makes the maps; it is kept, so that each kind of graph is checked once.

        Args:
            inputs: Arguments of the composer's ``forward``: with the first ones a method on attention finds out, in
                calls of its own that change nothing, where the model attends.
        """
        if self._mmgrad is None:
            looks = next((method for method in self.methods if method.needs.attention is not None), None)
            self._mmgrad = MultiModalGradAttention(self.composer, score=self.score, method=looks)
            if looks is not None and inputs is not None:
                self._mmgrad(**{name: one[:1] for name, one in inputs.items()})
        return self._mmgrad

    def autocast(self, device: torch.device, least: str = "bf16") -> torch.autocast:
        """Return the autocast of a part of the forward, which runs in bfloat16 from precision ``least`` on."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision in {least, "bf16-composer"})

    def _run_in_stages(
        self, stages: TrainingStages, batch: TripletBatch, features: Features, rows: Rows, *, maps: bool
    ) -> Forward:
        """Run a composer in stages: each image is encoded once, and retrieval and maps share its features."""
        count, values = len(batch.references), features.values
        targets = count + torch.arange(len(batch.texts), device=values.device)
        text = self.encode_text(batch.input_ids, batch.attention_mask)
        with self.autocast(values.device, "bf16-composer"):
            own = stages.embed(values)
        references = batch.picture
        supervised = torch.cat([references[rows.reference], targets[rows.target]])
        rest = _others(rows.reference, len(references))
        shifts = own.new_zeros(len(references), own.shape[1], dtype=torch.float32)
        drawn: Tensor | None = None
        attention: dict[str, Tensor] = {}
        if rows:
            drawn, shift, attention = self.compose(features.take(supervised), take_texts(text, rows.every), maps=maps)
            shifts = shifts.index_put((rows.reference,), shift[: len(rows.reference)])
        if len(rest):
            with self.autocast(values.device, "bf16-composer"):
                shift = stages.shift(values[references[rest]], take_texts(text, rest))
            shifts = shifts.index_put((rest,), shift.float())
        own = own.float()
        before = own[references]
        query, gallery = _unit(before + shifts, torch.cat([own[count:], own[:count]]))
        return Forward(query, gallery, shifts, own[count:] - before, drawn, attention, features)

    def _run_as_a_whole(self, batch: TripletBatch, rows: Rows, *, maps: bool) -> Forward:
        """Run any composer by its ``forward``; retrieval and maps share its graph."""
        with self._attention() as found:
            output, record = self.compose_whole(inputs_of(batch), maps=maps and bool(rows))
        check_parts(output, ("embedding", "target", "shift"), "to be trained")
        parts = convert_parts(output, Tensor.float)
        embedding, shift = parts.embedding, parts.shift
        target = cast("Tensor", parts.target)
        first = torch.arange(len(batch.references), device=embedding.device)
        first = (batch.picture[None] == first[:, None]).int().argmax(1)  # the first triplet of each image
        before = reference_alone(parts)
        query, gallery = _unit(embedding, torch.cat([target, before[first]]))
        drawn = None
        sides = (rows.reference, rows.target)
        if record is not None:
            if len(rows.target) and self.score.name == "shift":
                check_parts(output, ("target_shift",), "to be trained by maps of targets")
            score = self.measure(output)
            drawn = torch.cat([self.attend(score, record, i)[:, own] for i, own in enumerate(sides) if len(own)], dim=1)
        attention = {
            term: torch.cat([one[own] for one, own in zip(logits, sides, strict=False)])
            for term, logits in found.items()
            if rows
        }
        return Forward(query, gallery, shift, target - before, drawn, attention, output=output)

    @contextmanager
    def _attention(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect the logits of the composer's attention inside the block: ``(B, heads, tokens)`` a call, by term."""
        found: dict[str, list[Tensor]] = {term: [] for term in self.attention_layers}
        with ExitStack() as stack:
            for term, name in self.attention_layers.items():
                keep = found[term].append
                layer = self.composer.get_submodule(name)
                handle = layer.register_forward_hook(lambda _module, _inputs, output, keep=keep: keep(output))
                stack.callback(handle.remove)
            yield found


def take_texts(text: Text, rows: Tensor) -> Text:
    """Take some of the encoded texts."""
    return tuple(part[rows] for part in text)


def _unit(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(query, dim=-1), F.normalize(gallery, dim=-1)


def _others(rows: Tensor, count: int) -> Tensor:
    """Return the indices below ``count`` that are not in ``rows``."""
    left = torch.ones(count, dtype=torch.bool, device=rows.device)
    left[rows] = False
    return left.nonzero()[:, 0]
