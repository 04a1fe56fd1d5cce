"""Networks written by hand, as their papers describe them: a relation network and TIRG."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from testbed.scenes import ANSWERS, PAD, PRESENT, WORDS


def convolutions(channels: tuple[int, ...], deeper: tuple[int, ...] = ()) -> nn.Sequential:
    """Stages that each halve the grid; the ``deeper`` ones have two convolutions."""
    stages = []
    for index, (before, after) in enumerate(zip((3, *channels[:-1]), channels, strict=True)):
        layers = [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        if index in deeper:
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU()]
        stages.append(nn.Sequential(*layers))
    return nn.Sequential(*stages)


class RelationNetwork(nn.Module):
    """Answers questions from all pairs of cells (Santoro et al., arXiv 1706.01427), which the question also gates.

    Returns a logit an answer, or the logit of the answer that it is given, ``(B,)``.
    """

    def __init__(self, *, channels: tuple[int, ...], width: int = 128, words: int = 32) -> None:
        super().__init__()
        self.stages = convolutions(channels, deeper=(1, 2))
        self.words = nn.Embedding(len(WORDS), words, padding_idx=PAD)
        self.question = nn.GRU(words, width, batch_first=True)
        self.presence = nn.Linear(channels[-1], PRESENT)
        cell = channels[-1] + 2
        self.first, self.second = nn.Linear(cell, width), nn.Linear(cell, width, bias=False)
        self.asked, self.gate = nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.relate = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )  # fmt: skip
        self.decide = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, len(ANSWERS)))

    def see(self, images: Tensor) -> Tensor:
        """Return the cells with their coordinates, ``(B, cells, channels + 2)``."""
        features = self.stages(images)
        height, width = features.shape[2:]
        at = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        where = torch.stack(at).to(features).expand(len(images), -1, -1, -1)
        return torch.cat([features, where], 1).flatten(2).transpose(1, 2)

    def find(self, cells: Tensor) -> Tensor:
        """Return logits of what is somewhere in the image, ``(B, PRESENT)``: to train the convolutions."""
        return self.presence(cells[..., :-2]).amax(1)

    def answer(self, cells: Tensor, question: Tensor) -> Tensor:
        """Return the logits, ``(B, answers)``."""
        known = (question != PAD).sum(1) - 1
        states, _ = self.question(self.words(question))
        asked = states[torch.arange(len(question)), known][:, None]
        count = cells.shape[1]
        if self.training:  # one partner a cell stands for all: the mean is the same
            pairs = self.first(cells) + self.second(cells)[:, torch.randperm(count)]
        else:
            pairs = (self.first(cells)[:, :, None] + self.second(cells)[:, None]).flatten(1, 2)
        related = self.relate(pairs * self.gate(asked) + self.asked(asked))
        return self.decide(related.mean(1) * count)

    def forward(self, images: Tensor, question: Tensor, answer: Tensor | None = None) -> Tensor:
        """Answer questions ``(B, L)`` about images ``(B, 3, S, S)``."""
        logits = self.answer(self.see(images), question)
        return logits if answer is None else logits.gather(1, answer[:, None])[:, 0]


class Tirg(nn.Module):
    """Composes an image with a modifier text (Vo et al., arXiv 1812.07119), on a trunk that is pooled globally.

    With the target's embedding the result is the cosine with it, ``(B,)``; without, the composed embedding.
    """

    def __init__(self, *, channels: tuple[int, ...], vocabulary: int, embed: int = 96) -> None:
        super().__init__()
        self.stages = convolutions(channels)
        last = channels[-1]
        self.mix = nn.Sequential(nn.Conv2d(last, 2 * last, 3, 1, 1), nn.BatchNorm2d(2 * last), nn.ReLU())
        self.embed = nn.Linear(2 * last, embed)
        self.words = nn.Embedding(vocabulary, embed)
        self.text = nn.GRU(embed, embed // 2, batch_first=True, bidirectional=True)
        self.gate = nn.Sequential(nn.Linear(2 * embed, embed), nn.ReLU(), nn.Linear(embed, embed), nn.Sigmoid())
        self.residual = nn.Sequential(nn.Linear(2 * embed, 2 * embed), nn.ReLU(), nn.Linear(2 * embed, embed))
        self.weights = nn.Parameter(torch.tensor([1.0, 1.0]))
        self.logit_scale = nn.Parameter(torch.tensor(2.3))

    def embed_image(self, images: Tensor) -> Tensor:
        """Embed images: the mean over all places."""
        return self.embed(self.mix(self.stages(images)).mean((2, 3)))

    def compose(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Compose embedded images with texts: a unit embedding."""
        states, _ = self.text(self.words(ids))
        known = mask.to(states)[..., None]
        text = (states * known).sum(1) / known.sum(1)
        both = torch.cat([image, text], 1)
        mixed = self.weights[0] * self.gate(both) * image + self.weights[1] * self.residual(both)
        return F.normalize(mixed, dim=-1)

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor, target: Tensor | None = None) -> Tensor:
        """Compose, and compare with the target's unit embedding."""
        composed = self.compose(self.embed_image(images), ids, mask)
        return composed if target is None else (composed * target).sum(-1)
