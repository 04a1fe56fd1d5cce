"""A head that reads facts from embeddings."""

import torch
from torch.nn import functional as F

from mmgrad_explain.data.batches.facts import Facts
from mmgrad_explain.training.objective.fact_head import FactHead


def test_what_is_unknown_and_not_asked_for_does_not_count():
    head = FactHead(3, 2)
    facts = Facts(
        references=torch.tensor([[1, -1]], dtype=torch.int8),
        targets=torch.tensor([[0, 1]], dtype=torch.int8),
        asks=torch.tensor([[-1, 0]], dtype=torch.int8),
        reference_photos=torch.tensor([0]),
        target_photos=torch.tensor([0]),
    )
    gallery, query = (F.normalize(torch.randn(n, 3), dim=-1) for n in (2, 1))
    of_target, of_reference = head.head(gallery)
    asked = head.head(query)[0]
    true = (F.softplus(-of_reference[0]) + F.softplus(-of_target[1])) / 2
    false = (F.softplus(of_target[0]) + F.softplus(asked[1])) / 2
    torch.testing.assert_close(head(gallery, query, facts), (true + false) / 2)


def test_images_and_queries_learn_by_it():
    head = FactHead(4, 1)
    facts = Facts(*(torch.ones(2, 1, dtype=torch.int8) for _ in range(3)), torch.zeros(2), torch.zeros(2))
    gallery, query = torch.randn(4, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    head(gallery, query, facts).backward()
    assert gallery.grad.abs().sum(1).all()
    assert query.grad.abs().sum(1).all()
