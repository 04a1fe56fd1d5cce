"""Train the reference composer on procedural scenes, with or without the grounding loss.

    python -m mmgrad_explain.training.reference --out runs/grounded
    python -m mmgrad_explain.training.reference --out runs/ungrounded --grounding-weight 0

Retrieval: InfoNCE of the composed query against all targets and references of the batch; a scene's edits are one
another's hard negatives. Grounding: the Dice loss on the model's own maps of the text shift, drawn with Grad-CAM and
HiResCAM from one gradient, starting after a share of the steps.

The run folder holds ``checkpoint.pt`` to resume from (``--resume``), ``log.jsonl``, and at the end the model, which
``mmgrad-explain overlay --model FOLDER`` takes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from mmgrad_explain.attention import MultiModalGradAttention
from mmgrad_explain.composers.build import build_network
from mmgrad_explain.composers.network import NetworkConfig
from mmgrad_explain.composers.processor import ReferenceProcessor
from mmgrad_explain.composers.words import build_tokenizer
from mmgrad_explain.data.scene_text import VOCABULARY
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.grounding import dice_loss
from mmgrad_explain.training.scene_batches import scene_batch
from mmgrad_explain.writing import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.composers.network import ReferenceNetwork
    from mmgrad_explain.training.scene_batches import SceneBatch

TARGET_SIDE = {"add": 0.5, "recolour": 0.2, "reshape": 0.2, "resize": 0.2, "move": 0.3, "remove": 0.0}
"""How often an edit's map is supervised on the target picture instead of the reference."""

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
CHECKPOINT_EVERY = 100  # steps


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a run; each is a command line option of the same name.

    Attributes:
        steps: Optimizer steps.
        scenes: Scenes in a batch.
        edits: Edits of each scene; a batch has ``scenes * edits`` triplets.
        lr: Highest learning rate of AdamW; linear warm-up, then half a cosine down to 0.
        weight_decay: Of matrices; vectors have none.
        lr_warmup: Steps of warm-up.
        warm_start: Share of the steps before the grounding loss comes in.
        grounding_weight: Weight of the grounding loss; 0 trains without it.
        seed: Of the initial weights and of the scene series.
    """

    steps: int = 4000
    scenes: int = 24
    edits: int = 4
    lr: float = 1e-3
    weight_decay: float = 0.02
    lr_warmup: int = 150
    warm_start: float = 0.25
    grounding_weight: float = 2.0
    seed: int = 0


def train(config: TrainingConfig, out: Path, *, sizes: NetworkConfig | None = None, resume: bool = False) -> Path:
    """Train and save a reference model.

    Args:
        config: Options.
        out: Run folder, made if needed.
        sizes: Sizes of the network; the vocabulary's is filled in. The default network when None.
        resume: Go on from the folder's checkpoint, if there is one. Steps, rates and weights may be others than before;
            seed, scenes and edits decide which batches have been seen and must be the same.

    Returns:
        ``out``, a model folder now.

    Raises:
        OutputExistsError: If the folder holds a run and ``resume`` is false.
        InputError: If the checkpoint was made with another seed or batch.
    """
    saved = out / CHECKPOINT
    if saved.exists() and not resume:
        raise OutputExistsError(f"{out} holds a run already: pass --resume to go on with it, or choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(VOCABULARY)
    values = {**asdict(sizes or NetworkConfig()), "vocab_size": tokenizer.get_vocab_size()}
    torch.manual_seed(config.seed)
    network = build_network(NetworkConfig(**values))
    processor = ReferenceProcessor(tokenizer, network.config.image_size, network.config.max_words)
    optimizer = _optimizer(network, config)
    step = _restore(saved, network, optimizer, config) if saved.exists() else 0
    ground_from = int(config.warm_start * config.steps) if config.grounding_weight else config.steps
    began = time.monotonic()
    with (out / LOG).open("a", encoding="utf-8") as log:
        while step < config.steps:
            batch = scene_batch(config.seed, step * config.scenes, config.scenes, processor, edits=config.edits)
            rng = np.random.default_rng([config.seed, 1, step])
            retrieval, grounding, figures = losses(network, batch, rng, ground=step >= ground_from)
            for group in optimizer.param_groups:
                group["lr"] = config.lr * _rate(step, config)
            optimizer.zero_grad(set_to_none=True)
            (retrieval + config.grounding_weight * grounding).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % 20 == 0 or step == config.steps:
                log.write(json.dumps({"step": step, "seconds": time.monotonic() - began, **figures}) + "\n")
                log.flush()
            if step % CHECKPOINT_EVERY == 0 or step == config.steps:
                state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                with atomic_file(saved, overwrite=True) as stream:
                    torch.save({**state, "config": asdict(config)}, stream)
    _save_model(network, processor, out)
    return out


def _save_model(network: ReferenceNetwork, processor: ReferenceProcessor, folder: Path) -> None:
    """Write a network as a transformers model with its processor."""
    from mmgrad_explain.composers.reference import ReferenceConfig, ReferenceModel

    model = ReferenceModel(ReferenceConfig(**asdict(network.config)))
    model.network.load_state_dict(network.state_dict())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def losses(
    network: ReferenceNetwork, batch: SceneBatch, rng: np.random.Generator, *, ground: bool
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """The two losses of a batch.

    Args:
        network: The model; its backbone runs in bfloat16, everything that is differentiated twice in float32.
        batch: ``S`` scenes, ``N`` triplets.
        rng: Chooses on which side a map is supervised.
        ground: Whether to compute the grounding loss.

    Returns:
        Retrieval loss, grounding loss (zero when ``ground`` is false), both scalars, and figures to log.
    """
    with torch.autocast(batch.references.device.type, torch.bfloat16):
        features = network.encode_image(torch.cat([batch.references, batch.targets]))
    features = features.float()
    count = len(batch.references)
    mask = batch.attention_mask.bool()
    words, sentence = network.text(batch.input_ids, mask)
    seen = features[batch.scene]
    gallery = network.embed(features)
    query = F.normalize(gallery[:count][batch.scene] + network.shift(seen, words, sentence, mask), dim=-1)
    logits = query @ F.normalize(gallery, dim=-1).T * network.logit_scale.exp().clamp(max=100)
    truth = torch.arange(count, len(gallery), device=logits.device)
    retrieval = F.cross_entropy(logits, truth)
    figures = {
        "retrieval": float(retrieval.detach()),
        "accuracy": float((logits.argmax(1) == truth).float().mean()),
    }
    if not ground:
        return retrieval, retrieval.new_zeros(()), figures
    on_target = torch.from_numpy(rng.random(len(batch.edits)) < [TARGET_SIDE[edit] for edit in batch.edits])
    looked = torch.where(on_target[:, None, None, None], features[count:], seen)
    masks = torch.where(on_target[:, None, None], batch.target_masks, batch.reference_masks)
    where = F.adaptive_avg_pool2d(masks[:, None].float(), looked.shape[-1])[:, 0]
    mmgrad = MultiModalGradAttention(network, "features")
    with mmgrad.capture() as record:
        _, shift = network.compose(looked, words, sentence, mask)
    score = (shift * shift.detach()).sum(-1)
    maps = mmgrad.attend(score, record, create_graph=True, weighting=("gradcam", "hirescam"))
    grounding = torch.stack([dice_loss(one, where) for one in maps]).mean()
    figures["dice"] = float(grounding.detach())
    figures["dead"] = float((maps[0].detach().amax((1, 2)) <= 0).float().mean())
    return retrieval, grounding, figures


def _optimizer(network: ReferenceNetwork, config: TrainingConfig) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def _rate(step: int, config: TrainingConfig) -> float:
    """Learning rate as a share of the highest."""
    if step < config.lr_warmup:
        return (step + 1) / config.lr_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - config.lr_warmup) / max(1, config.steps - config.lr_warmup)))


def _restore(saved: Path, network: ReferenceNetwork, optimizer: torch.optim.Optimizer, config: TrainingConfig) -> int:
    state = torch.load(saved, weights_only=True)
    options = state.get("config", asdict(config))
    changed = [name for name in ("seed", "scenes", "edits") if options[name] != getattr(config, name)]
    if changed:
        raise InputError(f"{saved} was made with another {', '.join(changed)}: use the same, or another --out")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    for name, value in asdict(TrainingConfig()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value, help="default: %(default)s")
    options = vars(parser.parse_args(argv))
    out, resume = options.pop("out"), options.pop("resume")
    train(TrainingConfig(**options), out, resume=resume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
