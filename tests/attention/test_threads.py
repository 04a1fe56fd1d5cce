"""Eight threads at once: through one model, through a model each, through one MMGrad, through every door."""

import importlib
import threading

import pytest
import torch

from mmgrad_explain import MMGrad

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")

DOORS = ("call", "capture", "texts", "words", "captum")
COUNT = 8


def score(output):
    return output.embedding[:, 0]


def together(work):
    """Run ``work(0)`` to ``work(7)`` in threads that start at the same time; give what they give."""
    start, results, errors = threading.Barrier(COUNT), [None] * COUNT, []

    def run(index):
        try:
            start.wait(timeout=60)
            results[index] = work(index)
        except BaseException as error:  # noqa: BLE001  (shown below)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return results


def switches():
    """What is switched for a capture in the whole process."""
    backends = torch.backends.cuda
    return (
        torch._dynamo.eval_frame._stance.stance,
        backends.flash_sdp_enabled(),
        backends.mem_efficient_sdp_enabled(),
        backends.math_sdp_enabled(),
    )


@pytest.fixture
def before():
    importlib.import_module("torch._dynamo.eval_frame")  # as if something had been compiled
    found = switches()
    assert found == ("default", True, True, True)
    yield found
    assert switches() == found


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("shared", [True, False])
def test_eight_at_once(zoo, before, door, shared):
    models = [zoo.build(zoo.TwoInput, seed=0 if shared else index) for index in range(COUNT)]
    used = [models[0] if shared else model for model in models]
    asked = [(zoo.pictures(1, seed=index), zoo.ids(3, seed=index)) for index in range(COUNT)]
    states = [zoo.state(model) for model in used]
    found = together(lambda index: [zoo.through(door, used[index], *asked[index]) for _ in range(3)])
    for model, state in zip(used, states, strict=True):
        after = zoo.state(model)
        assert all(after[key] == state[key] for key in ("training", "requires_grad", "hooks", "attributes", "mode"))
    for model, inputs, results in zip(used, asked, found, strict=True):
        expected = zoo.by_plain_autograd(model, *inputs)["words" if door == "words" else "maps"]
        for one in results:
            torch.testing.assert_close(one, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_every_door_at_once(zoo, before):
    """Looking and training at the same time: each thread has a model of its own to train."""
    shared, own = zoo.build(zoo.TwoInput), [zoo.build(zoo.TwoInput) for _ in range(COUNT)]
    image, ids = zoo.pictures(1), zoo.ids(3)
    expected = zoo.by_plain_autograd(shared, image, ids)

    def work(index):
        door = DOORS[index % len(DOORS)]
        return door, zoo.through(door, own[index] if door == "capture" else shared, image, ids)

    for door, found in together(work):
        plain = expected["words" if door == "words" else "maps"]
        torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))


def test_one_mmgrad_finds_its_layer_once(zoo, before):
    model, runs = zoo.build(zoo.TwoInput), []
    model.register_forward_hook(lambda *_: runs.append(1))
    mmgrad = MMGrad(model, None, score)
    asked = [(zoo.pictures(1, seed=index), zoo.ids(1, seed=index)) for index in range(COUNT)]
    MMGrad(model, None, score)(*asked[0])
    once = len(runs)
    assert once > 1
    found = together(lambda index: mmgrad(*asked[index]))
    assert len(runs) == once + once + COUNT - 1
    assert mmgrad.layer_names == ("tower",)
    for inputs, one in zip(asked, found, strict=True):
        assert torch.equal(one.maps, MMGrad(model, "tower", score)(*inputs).maps)


def test_blocks_that_overlap(zoo, before):
    """The first to enter is the first to leave: what it switched stays as long as the other one needs it."""
    model = zoo.build(zoo.TwoInput)
    first, second = MMGrad(model, "tower").capture(), MMGrad(model, "tower").capture()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert switches() == ("force_eager", False, False, True)
    second.__exit__(None, None, None)
    assert switches() == before
