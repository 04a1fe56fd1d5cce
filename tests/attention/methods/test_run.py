"""What a method can ask of one forward: gradients, further runs, replays of the model's head."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain.attention.methods.base import MethodMaps, Needs
from mmgrad_explain.attention.methods.run import Run
from mmgrad_explain.errors import InputError


@dataclass
class Ask:
    """A method that keeps the run for questions inside the call."""

    question: Any
    needs: Needs
    name = "ask"
    differentiable = False
    answer: Any = None

    def maps(self, run):
        self.answer = self.question(run)
        batch = run.score.numel()
        return MethodMaps({"asked": [torch.eye(3).expand(batch, 3, 3)]}, {"asked": ["3 x 3"]})


@pytest.fixture
def clip(zoo):
    return zoo.clip(), {"input_ids": zoo.ids(), "pixel_values": zoo.pictures(size=(32, 32))}


def ask(model, inputs, question, needs=None, score=None):
    method = Ask(question, needs or Needs(reruns=True, gradient=False))
    MMGrad(model, score=score, method=method)(**inputs)
    return method.answer


def cosine(output):
    return torch.cosine_similarity(output.image_embeds, output.text_embeds)


def test_other_inputs_have_their_own_scores_without_a_graph(clip, zoo):
    model, inputs = clip
    other = {**inputs, "pixel_values": zoo.pictures(size=(32, 32), seed=9)}
    with zoo.leaves_alone(model):
        found = ask(model, inputs, lambda run: run.rerun(((), other)))
    assert not found.requires_grad
    torch.testing.assert_close(found, cosine(model(**other)).detach())


def test_a_graph_is_kept_where_it_is_asked_for(clip):
    model, inputs = clip

    def gradient(run):
        pixels = inputs["pixel_values"].clone().requires_grad_()
        return torch.autograd.grad(run.rerun(((), {**inputs, "pixel_values": pixels}), graph=True).sum(), pixels)[0]

    pixels = inputs["pixel_values"].clone().requires_grad_()
    expected = torch.autograd.grad(cosine(model(**{**inputs, "pixel_values": pixels})).sum(), pixels)[0]
    torch.testing.assert_close(ask(model, inputs, gradient), expected)


def test_reruns_hold_what_the_score_holds_constant(clip, zoo):
    model, inputs = clip
    other = {**inputs, "pixel_values": zoo.pictures(size=(32, 32), seed=9)}

    def score(output):
        return (output.image_embeds * output.image_embeds.detach()).sum(1)

    original, changed = (model(**given).image_embeds.detach() for given in (inputs, other))
    found = ask(model, inputs, lambda run: run.rerun(((), other)), score=score)
    torch.testing.assert_close(found, (original * changed).sum(1))
    rows = {name: value[[1, 1, 0]] for name, value in other.items()}
    index = torch.tensor([1, 1, 0])
    found = ask(model, inputs, lambda run: run.rerun(((), rows), index), score=score)
    torch.testing.assert_close(found, (original * changed).sum(1)[index])


def last_of_image(sites):
    return [site for site in sites if site.is_self and site.of_image_alone][-1:]


BLOCK = "vision_model.encoder.layers.1"
REPLAY = Needs(attention=last_of_image, replay=True, gradient=False)


def through_head(model, tokens, inputs):
    pooled = model.visual_projection(model.vision_model.post_layernorm(tokens[:, 0]))
    return torch.cosine_similarity(pooled, model(**inputs).text_embeds)


def test_a_replay_gives_the_score_of_other_tokens(clip):
    model, inputs = clip
    tokens = torch.randn(2, 17, 16)
    ran = []
    model.vision_model.encoder.layers[0].mlp.register_forward_hook(lambda *_: ran.append(1))

    def replay(run):
        before = len(ran)
        score = run.replay({(BLOCK, 0): tokens})
        return score, len(ran) - before

    score, blocks = ask(model, inputs, replay, REPLAY)
    assert blocks == 0  # what was recorded is not computed again
    torch.testing.assert_close(score.detach(), through_head(model, tokens, inputs).detach())


def test_several_batches_are_replayed_at_once(clip):
    model, inputs = clip
    tokens = torch.randn(3, 2, 17, 16)
    found = ask(model, inputs, lambda run: run.replay({(BLOCK, 0): tokens.flatten(0, 1)}, times=3), REPLAY)
    expected = torch.cat([through_head(model, of_batch, inputs) for of_batch in tokens])
    torch.testing.assert_close(found.detach(), expected.detach())


def test_replays_can_hold_what_the_score_holds_constant(clip):
    model, inputs = clip
    tokens = torch.randn(2, 17, 16)

    def score(output):
        return (output.image_embeds * output.image_embeds.detach()).sum(1)

    original = model(**inputs).image_embeds
    new = model.visual_projection(model.vision_model.post_layernorm(tokens[:, 0]))
    new = new / new.norm(dim=1, keepdim=True)
    question = lambda run: [run.replay({(BLOCK, 0): tokens}, hold=hold) for hold in (False, True)]  # noqa: E731
    both = ask(model, inputs, question, REPLAY, score)
    torch.testing.assert_close(both[0].detach(), torch.ones(2))
    torch.testing.assert_close(both[1].detach(), (original * new).sum(1).detach())


def test_without_a_call_of_the_model_there_is_nothing_to_run_again(clip):
    model, _ = clip
    run = Run(model, None, torch.zeros(2), {})
    with pytest.raises(InputError, match=r"mmgrad\(...\)"):
        run.rerun(((), {}))
    with pytest.raises(InputError, match="score="):
        run.replay({})
