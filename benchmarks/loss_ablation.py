"""Comparison of grounding losses: forms, weights and extra terms, all trained from one common start.

    python benchmarks/loss_ablation.py            # some minutes of one core
    python benchmarks/loss_ablation.py --seeds 3 --table docs/grounding.md
    python benchmarks/loss_ablation.py --quick    # a few steps: a test of the path, the figures mean nothing

A small reference network learns retrieval alone on procedural scenes; from these weights every variant goes on with the
same batches, rates and number of steps, once for each seed of the batches. Prints a Markdown table of what each does on
scenes that none has seen: mean and standard deviation over the seeds. The last variants are losses of others: AMC,
which has masks, and those that see none: SelfEQ on texts with another verb, mirrored images, other texts, and GAIN's
masking.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.attention import MultiModalGradAttention
from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.processor import ReferenceProcessor
from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
from mmgrad_explain.data.batches.scenes import SceneBatch, scene_batch
from mmgrad_explain.data.edit_sides import names_side
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.text import VOCABULARY
from mmgrad_explain.grounding import (
    AttentionGroundingLoss,
    MaskedScores,
    PairedMaps,
    dead_maps,
    grounding_targets,
    partner_masks,
    soft_mask,
    split_images,
)
from mmgrad_explain.metrics.localization import (
    contrast_accuracy,
    energy_inside,
    intersection_over_union,
    pointing_game,
)
from mmgrad_explain.metrics.report import environment_line, markdown_table, mean_and_spread

sys.path.insert(0, str(Path(__file__).parent))
from photographs.card import write_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mmgrad_explain.composers.reference.network import ReferenceNetwork

EDITS = 4
SCENES = SceneOptions(objects=(1, 4))  # few objects: a small network learns in minutes which one the text names
STAYS = ("recolour", "reshape", "resize")  # edits that leave the object in its place
SMALL = {
    "text_width": 64,
    "text_layers": 1,
    "heads": 4,
    "feature_width": 64,
    "embed_dim": 64,
    "backbone_options": {"layers": [1, 1, 1, 1], "channels": [32, 48, 64, 64], "stem_width": 16, "groups": 4},
}
VERBS = {
    "make": "turn", "turn": "make", "change": "turn", "paint": "colour", "color": "paint", "colour": "paint",
    "recolor": "paint", "recolour": "paint", "remove": "delete", "delete": "remove", "erase": "remove",
}  # fmt: skip
"""Another first word that leaves a text its meaning."""
FIGURES = ("retrieval", "pointing", "energy", "IoU", "contrast", "dead")


@dataclass(frozen=True)
class Variant:
    """One row: a form, its weight, extra terms, and whether the loss sees signed maps."""

    form: str = "dice"
    weight: float = 2.0
    extra: dict[str, float] = field(default_factory=dict)
    signed: bool = True

    @property
    def name(self) -> str:
        """The name of the row."""
        form = [f"{self.form} {self.weight:g}"] if self.weight else []
        terms = [*form, *(f"{name} {value:g}" for name, value in self.extra.items())]
        return (" + ".join(terms) or "without the loss") + ("" if self.signed else ", rectified maps")

    def loss(self) -> AttentionGroundingLoss:
        """Make the loss module."""
        return AttentionGroundingLoss(self.form, weights={"form": self.weight, **self.extra})


VARIANTS = (
    Variant(weight=0.0),
    Variant("dice", 2.0),
    Variant("dice", 2.0, signed=False),
    Variant("bce", 2.0),
    Variant("softmax", 1.0),
    Variant("softplus", 1.0),
    Variant("kl", 1.0),
    Variant("dice", 2.0, {"contrast": 1.0}),
    Variant("dice", 2.0, {"margin": 1.0}),
    Variant("dice", 2.0, {"consistency": 0.5}),
    Variant("dice", 4.0),
    Variant("softmax", 0.3),
    Variant("amc", 1.0),
    Variant("amc", 2.0),
    Variant(weight=0.0, extra={"selfeq": 1.0}),
    Variant(weight=0.0, extra={"mirror": 1.0}),
    Variant(weight=0.0, extra={"texts": 1.0}),
    Variant(weight=0.0, extra={"hidden": 0.5, "shown": 0.5}),
    Variant(weight=0.0, extra={"mirror": 1.0, "texts": 1.0, "hidden": 0.5, "shown": 0.5}),
    Variant("dice", 2.0, {"hidden": 0.5, "shown": 0.5}),
)


@dataclass(frozen=True)
class Forward:
    """Logits ``(N, G)`` and, if requested, the maps of the image that shows the object and of the other one."""

    logits: Tensor
    maps: Tensor | None = None
    paired: Tensor | None = None


def run(network: ReferenceNetwork, batch: SceneBatch, *, graph: bool = False, relu: bool = True) -> Forward:
    """Run one forward; from one gradient of the text shifts, draw the Grad-CAM maps of reference and target."""
    images = torch.cat([batch.references, batch.targets]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16):
        features = network.encode_image(images)
    features = features.float()
    count, mask = len(batch.references), batch.attention_mask.bool()
    seen, targets = features[:count][batch.scene], features[count:]
    words, sentence = network.text(batch.input_ids, mask)
    if network.training and not graph:
        identity, shift = network.compose(seen, words, sentence, mask)
        return Forward(_logits(identity + shift, network.embed(targets), identity))
    mmgrad = MultiModalGradAttention(network, "features", method="gradcam")
    with mmgrad.capture() as record:
        identity, shift = network.compose(
            torch.cat([seen, targets]), *(torch.cat([part, part]) for part in (words, sentence, mask))
        )
    (own, other), (changed, _) = identity.chunk(2), shift.chunk(2)
    maps = mmgrad.attend((shift * shift.detach()).sum(-1), record, create_graph=graph, relu=relu)
    reference, target = maps.chunk(2)
    there = on_target(batch)[:, None, None]
    shown, paired = torch.where(there, target, reference), torch.where(there, reference, target)
    return Forward(_logits(own + changed, other, own), shown, paired)


def _logits(query: Tensor, targets: Tensor, references: Tensor) -> Tensor:
    """Compute the cosines of the queries with all targets and with every scene's reference once."""
    gallery = torch.cat([targets, references[::EDITS]])
    return F.normalize(query, dim=-1) @ F.normalize(gallery, dim=-1).T


def on_target(batch: SceneBatch) -> Tensor:
    """Find the samples with an object that only the target shows, ``(N,)``."""
    return torch.tensor([edit == "add" for edit in batch.edits])


def masks_of(batch: SceneBatch) -> Tensor:
    """Return the mask of each map, ``(N, size, size)``."""
    return torch.where(on_target(batch)[:, None, None], batch.target_masks, batch.reference_masks)


def paraphrase(text: str) -> str:
    """Say a text with another verb, and with or without "please"."""
    polite, words = text.startswith("please "), text.removeprefix("please ").split()
    words[0] = VERBS.get(words[0], words[0])
    return " ".join(words if polite else ["please", *words])


def draw_again(network: ReferenceNetwork, batch: SceneBatch, pixels: Tensor, words: tuple[Tensor, Tensor]) -> Tensor:
    """Draw the signed maps of other reference images (S, ...) or other texts, differentiable."""
    mask = words[1].bool()
    with torch.autocast(pixels.device.type, torch.bfloat16):
        features = network.encode_image(pixels.contiguous(memory_format=torch.channels_last))
    text, sentence = network.text(words[0], mask)
    mmgrad = MultiModalGradAttention(network, "features", method="gradcam")
    with mmgrad.capture() as record:
        _, shift = network.compose(features.float()[batch.scene], text, sentence, mask)
    return mmgrad.attend((shift * shift.detach()).sum(-1), record, create_graph=True, relu=False)


def terms_without_masks(
    network: ReferenceNetwork, processor: ReferenceProcessor, batch: SceneBatch, done: Forward, extra: dict[str, float]
) -> dict[str, Any]:
    """Make what the terms without masks compare: maps, and scores of masked images."""
    own, shown = (batch.input_ids, batch.attention_mask), ~on_target(batch)
    others: dict[str, PairedMaps] = {}
    if "selfeq" in extra:
        again = processor.encode_texts([paraphrase(text) for text in batch.texts])
        others["selfeq"] = PairedMaps(draw_again(network, batch, batch.references, again), shown)
    if "mirror" in extra:
        free = shown & torch.tensor([not names_side(text) for text in batch.texts])
        others["mirror"] = PairedMaps(draw_again(network, batch, batch.references.flip(-1), own).flip(-1), free)
    if "texts" in extra and done.maps is not None:
        place = torch.arange(len(shown))
        partner = place - place % EDITS + (place + 1) % EDITS
        others["texts"] = PairedMaps(done.maps[partner], shown & shown[partner])
    if not {"hidden", "shown"} & set(extra) or done.maps is None:
        return {"other_maps": others}
    images = batch.references[batch.scene]
    masked = split_images(images, soft_mask(done.maps, tuple(images.shape[2:])))
    mask = batch.attention_mask.bool()
    words, sentence = network.text(batch.input_ids, mask)
    shifts = []
    for pixels in (images, *masked):
        with torch.autocast(pixels.device.type, torch.bfloat16):
            features = network.encode_image(pixels.contiguous(memory_format=torch.channels_last))
        shifts.append(network.shift(features.float(), words, sentence, mask))
    direction = shifts[0].detach()
    whole, hidden, alone = ((shift * direction).sum(-1) for shift in shifts)
    return {"other_maps": others, "scores": MaskedScores(whole, hidden, alone, shown)}


def train(
    network: ReferenceNetwork,
    processor: ReferenceProcessor,
    batches: Iterable[SceneBatch],
    rates: list[float],
    variant: Variant | None = None,
) -> None:
    """Train in place, one step a batch; ``variant`` None is retrieval alone."""
    grounding = variant.loss() if variant and (variant.weight or variant.extra) else None
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    network.train()
    for batch, rate in zip(batches, rates, strict=True):
        done = run(network, batch, graph=grounding is not None, relu=not (variant and variant.signed))
        scale = network.logit_scale.exp().clamp(max=100)
        loss = F.cross_entropy(done.logits * scale, torch.arange(len(done.logits)))
        if grounding is not None and variant is not None and done.maps is not None:
            targets = grounding_targets(tuple(done.maps.shape[1:]), masks=masks_of(batch))
            places = torch.where(on_target(batch), -1 - torch.arange(len(batch.scene)), batch.scene)
            stays = torch.tensor([edit in STAYS for edit in batch.edits])
            loss = loss + grounding(
                done.maps,
                targets,
                other_masks=partner_masks(targets.masks, places),
                paired_maps=done.paired,
                paired_valid=stays,
                **terms_without_masks(network, processor, batch, done, variant.extra),
            )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def evaluate(network: ReferenceNetwork, batches: list[SceneBatch]) -> dict[str, float]:
    """Measure the row's figures: retrieval in the batch's own gallery, the others on Grad-CAM maps."""
    network.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in FIGURES}
    for batch in batches:
        done = run(network, batch)
        grids = done.maps.detach()
        masks = masks_of(batch)
        maps = F.interpolate(grids[:, None], size=masks.shape[-2:], mode="bilinear")[:, 0]
        found["retrieval"].append((done.logits.argmax(1) == torch.arange(len(masks))).float())
        found["pointing"].append(pointing_game(maps, masks))
        found["energy"].append(energy_inside(maps, masks))
        found["IoU"].append(intersection_over_union(maps, masks))
        found["dead"].append(dead_maps(grids).float())
        pairs = (batch.partner >= 0).nonzero()[:, 0]
        others = batch.reference_masks[pairs - pairs % EDITS + batch.partner[pairs]]
        found["contrast"].append(contrast_accuracy(maps[pairs], batch.reference_masks[pairs], others))
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Train every variant for every seed, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="of every variant (default: %(default)s)")
    parser.add_argument("--warm", type=int, default=600, help="retrieval-only steps before (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=12, help="scenes in a batch, four edits each")
    parser.add_argument("--size", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds of the batches, from 0")
    parser.add_argument("--held-out", type=int, default=6, help="batches to evaluate on, of 24 scenes")
    parser.add_argument("--only", metavar="FORM", help="only the variants of this form, or with this term")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="a page to put the table into")
    parser.add_argument("--quick", action="store_true", help="a few steps, as a test of the whole path")
    options = parser.parse_args(argv)
    per_batch = 24
    if options.quick:
        options.steps, options.warm, options.scenes, options.size, options.seeds = 1, 1, 2, 32, 1
        options.held_out, per_batch = 1, 2
    tokenizer = build_tokenizer(VOCABULARY)
    processor = ReferenceProcessor(tokenizer, options.size)
    sizes = {**SMALL, "image_size": options.size, "vocab_size": tokenizer.get_vocab_size()}
    config = NetworkConfig(**{**asdict(NetworkConfig()), **sizes})
    variants = [variant for variant in VARIANTS if options.only in {None, variant.form, *variant.extra}]
    rows: dict[str, list[dict[str, float]]] = {"the start": [], **{variant.name: [] for variant in variants}}
    began = time.process_time()

    def draw(seed: int, batches: int, scenes: int) -> Iterator[SceneBatch]:
        return (scene_batch(seed, i * scenes, scenes, processor, edits=EDITS, options=SCENES) for i in range(batches))

    held_out = list(draw(10_000, options.held_out, per_batch))
    torch.manual_seed(0)
    start = build_network(config).to(memory_format=torch.channels_last)
    with torch.no_grad():
        grid = start.encode_image(torch.zeros(2, 3, options.size, options.size)).shape[-1]
    warm_up = [1.5e-3 * min(1.0, (i + 1) / 100) for i in range(options.warm)]
    train(start, processor, draw(100, options.warm, options.scenes), warm_up)
    rows["the start"].append(evaluate(start, held_out))
    rates = [1e-3 * min(1.0, 2 * (1 - step / options.steps)) for step in range(options.steps)]
    for seed in range(options.seeds):
        drawn = list(draw(seed, options.steps, options.scenes))
        for variant in variants:
            network = copy.deepcopy(start)
            train(network, processor, drawn, rates, variant)
            rows[variant.name].append(evaluate(network, held_out))
            sys.stderr.write(f"seed {seed}: {variant.name}: {rows[variant.name][-1]}\n")
    table = [
        [name, *(mean_and_spread([one[figure] for one in figures]) for figure in FIGURES)]
        for name, figures in rows.items()
    ]
    found = (
        f"{markdown_table(['loss', *FIGURES], table)}\n\n"
        f"One start of {options.warm} steps of retrieval alone, seed 0; {options.seeds} seed(s) from 0 of "
        f"{options.steps} steps of {options.scenes * EDITS} triplets at {options.size} px, grid {grid}x{grid}; "
        f"{options.held_out * per_batch * EDITS} held-out triplets of seed 10000, galleries of "
        f"{per_batch * (EDITS + 1)}; {(time.process_time() - began) / 60:.0f} min of one core; {environment_line()}"
    )
    print(found)
    if options.table is not None:
        write_tables(options.table, "loss_ablation.py", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
