"""Words left out under every named score: what it holds constant stays that of the whole text, sample by sample."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.scores.embedding import Similarity, TextShift
from mmgrad_explain.attention.scores.matching import AnswerLikelihood
from mmgrad_explain.attention.scores.named import SCORES

pytestmark = pytest.mark.filterwarnings(
    "ignore::mmgrad_explain.errors.MMGradWarning"
)  # of maps, which are not looked at

SIZE, ANSWER = 5, 3
FIELDS = (
    "embedding", "shift", "target_shift", "empty", "target", "target_composed", "image", "text"
)  # fmt: skip


class Everything(nn.Module):
    """A model whose output has what every score reads; each part depends on the image and on the order of the words."""

    def __init__(self):
        super().__init__()
        self.tower, self.words = nn.Conv2d(3, SIZE, 2, 2), nn.Embedding(20, SIZE)
        self.order, self.head = nn.GRU(SIZE, SIZE, batch_first=True), nn.Linear(SIZE, ANSWER * 7)
        self.parts = nn.ModuleDict({name: nn.Linear(SIZE, SIZE) for name in FIELDS})

    def forward(self, pixels, input_ids):
        seen, read = self.tower(pixels).tanh().mean((2, 3)), self.order(self.words(input_ids))[1][0]
        mixed = seen + read
        made = {name: part(mixed if name not in {"empty", "image"} else seen) for name, part in self.parts.items()}
        labels = torch.tensor([[-100, 2, 5]]).expand(len(pixels), -1)
        logits = self.head(mixed.tanh()).view(-1, ANSWER, 7)
        return SimpleNamespace(**made, match=mixed.square().sum(-1), logits=logits, labels=labels)


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def answer(output, labels):
    """The log-likelihood of the second and third places, of one sample."""
    log_p = output.logits[0].log_softmax(-1)
    return sum(float(log_p[at - 1, labels[at]]) for at in range(1, ANSWER) if labels[at] >= 0)


def pair(whole, other, weigh):
    """The two embeddings of another output, under the channels' weights of the whole text."""
    weights = weigh((unit(whole.embedding) - unit(whole.target_composed)).abs())
    return float((weights * (unit(other.embedding) + unit(other.target_composed))).sum())


def dot(first, second):
    return float((first * second).sum())


GENERATOR = torch.Generator().manual_seed(3)
TARGETS, EMPTY = (torch.randn(3, SIZE, generator=GENERATOR) for _ in range(2))
LABELS = torch.tensor([[-100, 1, 2], [-100, -100, 0], [-100, 6, -100]])
CASES = {  # the score, and its value of another output (of one sample) with the constants of the whole text
    "similarity": ("similarity", lambda i, whole, other: dot(unit(other.embedding), unit(other.target))),
    "shift": (
        "shift",
        lambda i, whole, other: dot(whole.shift, other.shift) + dot(whole.target_shift, other.target_shift),
    ),
    "pair": ("pair", lambda i, whole, other: pair(whole, other, lambda difference: 1 - difference)),
    "pair-different": ("pair-different", lambda i, whole, other: pair(whole, other, lambda difference: difference)),
    "image-text": (
        "image-text",
        lambda i, whole, other: dot(unit(other.image) + unit(other.target), unit(other.text)),
    ),
    "match": ("match", lambda i, whole, other: float(other.match)),
    "answer": ("answer", lambda i, whole, other: answer(other, other.labels[0].tolist())),
    "similarity to targets": (
        Similarity(TARGETS), lambda i, whole, other: dot(unit(other.embedding), unit(TARGETS[i]))
    ),
    "similarity to one target": (
        Similarity(TARGETS[0]), lambda i, whole, other: dot(unit(other.embedding), unit(TARGETS[0]))
    ),
    "shift from embeddings": (
        TextShift(EMPTY), lambda i, whole, other: dot(whole.embedding - EMPTY[i], other.embedding - EMPTY[i])
    ),
    "shift from one embedding": (
        TextShift(EMPTY[:1]), lambda i, whole, other: dot(whole.embedding - EMPTY[0], other.embedding - EMPTY[0])
    ),
    "answers": (AnswerLikelihood(LABELS), lambda i, whole, other: answer(other, LABELS[i].tolist())),
    "callable": (
        lambda output: (output.embedding * output.shift.detach()).sum(-1),
        lambda i, whole, other: dot(other.embedding, whole.shift),
    ),
}  # fmt: skip


def test_no_named_score_is_missing():
    assert set(SCORES) <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_values_of_words_equal_those_by_hand(case):
    score, by_hand = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Everything().eval()
    pixels = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[3, 9, 4, 7], [11, 2, 5, 3], [8, 1, 15, 6]])
    found = MMGrad(model, "tower", score, words="leave-one-out")(pixels, ids)
    with torch.no_grad():
        for sample, words in enumerate(found.words):
            image, row = pixels[sample : sample + 1], ids[sample]
            whole = model(image, row[None])
            lost = [
                by_hand(sample, whole, whole)
                - by_hand(sample, whole, model(image, torch.cat([row[:at], row[at + 1 :]])[None]))
                for at in range(len(row))
            ]
            assert [word.value for word in words] == pytest.approx(lost, rel=1e-4, abs=1e-5)
            assert max(map(abs, lost)) > 1e-3
