"""Scores of pictures with texts, and of answers."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from mmgrad_explain import AnswerLikelihood, ImageTextCosine, InputError, MatchLogit
from mmgrad_explain.attention.scores.held_constants import HeldConstants


def vectors(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestImageText:
    def test_is_the_cosine_and_adds_the_targets(self):
        image, text, target = (vectors(seed, 3, 5) for seed in range(3))
        expected = functional.cosine_similarity(image, text)
        torch.testing.assert_close(ImageTextCosine()(SimpleNamespace(image=image, text=text, target=None)), expected)
        torch.testing.assert_close(ImageTextCosine()({"image_embeds": image, "text_embeds": text}), expected)
        both = ImageTextCosine()(SimpleNamespace(image=image, text=text, target=target))
        torch.testing.assert_close(both, expected + functional.cosine_similarity(target, text))

    def test_what_it_needs(self):
        with pytest.raises(InputError, match=r"score 'image-text' needs an embedding of the image and one of"):
            ImageTextCosine()(SimpleNamespace(image=vectors(0, 3, 5)))
        with pytest.raises(InputError, match=r"shape \(3, 5\), the text's \(2, 5\): give one text for each image"):
            ImageTextCosine()(SimpleNamespace(image=vectors(0, 3, 5), text=vectors(0, 2, 5)))


class TestMatch:
    def test_adds_the_targets(self):
        match, target = vectors(0, 3), vectors(1, 3)
        assert torch.equal(MatchLogit()(SimpleNamespace(match=match, target_match=None)), match)
        assert torch.equal(MatchLogit()(SimpleNamespace(match=match, target_match=target)), match + target)

    def test_what_it_needs(self):
        with pytest.raises(InputError, match="this model gives no match logit: use its default score"):
            MatchLogit()(SimpleNamespace(match=None))


class TestAnswer:
    LABELS = torch.tensor([[-100, -100, 3, 1, 2], [-100, 0, 4, -100, -100]])

    def test_is_the_log_likelihood_of_the_tokens_asked_for(self):
        logits = vectors(0, 2, 5, 6).double().requires_grad_()
        log_p = logits.log_softmax(-1)
        expected = torch.stack([log_p[0, 1, 3] + log_p[0, 2, 1] + log_p[0, 3, 2], log_p[1, 0, 0] + log_p[1, 1, 4]])
        found = AnswerLikelihood(self.LABELS)(SimpleNamespace(logits=logits))
        torch.testing.assert_close(found, expected.float())
        carried = AnswerLikelihood()({"logits": logits, "labels": self.LABELS})
        torch.testing.assert_close(carried, found)
        (gradient,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
        torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0], atol=1e-6, rtol=1e-5)

    def test_chosen_tokens(self):
        logits = vectors(0, 2, 5, 6)
        log_p = logits.log_softmax(-1)
        found = AnswerLikelihood(self.LABELS, tokens=[1])(SimpleNamespace(logits=logits))
        torch.testing.assert_close(found, torch.stack([log_p[0, 2, 1], log_p[1, 1, 4]]))

    def test_what_it_needs(self):
        logits = vectors(0, 2, 5, 6)
        for output in (SimpleNamespace(logits=logits), SimpleNamespace(labels=self.LABELS), logits):
            with pytest.raises(InputError, match=r"pass AnswerLikelihood\(labels=ids\)"):
                AnswerLikelihood()(output)
        with pytest.raises(InputError, match=r"labels have shape \(2, 4\), the logits \(2, 5, 6\)"):
            AnswerLikelihood(self.LABELS[:, 1:])(SimpleNamespace(logits=logits))
        with pytest.raises(InputError, match="a sample has no token that counts"):
            AnswerLikelihood(self.LABELS, tokens=[2])(SimpleNamespace(logits=logits))


def test_labels_stay_with_their_samples():
    """The same answer is asked of other outputs, row by row."""
    labels, logits = torch.tensor([[-100, 1, 2], [-100, -100, 0]]), torch.randn(3, 3, 4)
    samples = torch.tensor([1, 0, 1])
    held = HeldConstants(AnswerLikelihood(labels), {"logits": torch.randn(2, 3, 4)})({"logits": logits}, samples)
    torch.testing.assert_close(held, AnswerLikelihood(labels[samples])({"logits": logits}))
