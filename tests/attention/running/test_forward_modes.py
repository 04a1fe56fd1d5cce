"""Other kernels inside a block, for the whole process, and in the repetitions of what was checkpointed there."""

import contextlib
import threading

import pytest
import torch
from torch.nn import functional
from torch.utils import checkpoint as torchs
from torch.utils.checkpoint import checkpoint

from mmgrad_explain.attention.running.forward_modes import (
    is_repetition,
    math_attention,
    run_eagerly,
    run_repetitions_in,
)


def attend(x):
    return functional.scaled_dot_product_attention(x, x, x)


def has_second_derivative(x):
    (slope,) = torch.autograd.grad(attend(x).square().sum(), x, create_graph=True)
    try:
        slope.sum().backward()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def x():
    return torch.rand(1, 2, 4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)


def test_math_attention_has_a_second_derivative_inside_the_block_alone(x):
    assert not has_second_derivative(x)
    with math_attention():
        assert has_second_derivative(x)
    assert not has_second_derivative(x)


def test_blocks_may_be_nested_and_end_with_an_error(x):
    with math_attention():
        with contextlib.suppress(KeyError), math_attention():
            raise KeyError
        assert has_second_derivative(x)
    assert not has_second_derivative(x)


def test_a_block_of_another_thread_that_ends_later_leaves_nothing(x):
    """Each thread restores the state that nobody asks to change, not the state that it found."""
    begun, ended = threading.Event(), threading.Event()

    def run():
        with math_attention():
            begun.set()
            ended.wait(10)

    thread = threading.Thread(target=run)
    with math_attention():
        thread.start()
        assert begun.wait(10)
    assert has_second_derivative(x), "the other block is open"
    ended.set()
    thread.join()
    assert not has_second_derivative(x)


def test_compiled_code_runs_as_plain_python_inside_the_block():
    ran = []

    @torch.compile(backend=lambda graph, inputs: lambda *args: ran.append("compiled") or graph(*args))
    def double(x):
        return 2 * x

    x = torch.ones(2)
    double(x)
    with run_eagerly():
        assert torch.equal(double(x), 2 * x)
    double(x)
    assert ran == ["compiled"] * 2


def test_a_repetition_is_a_forward_inside_a_backward_pass():
    asked = []

    def run(x):
        asked.append(is_repetition())
        return x.sin()

    x = torch.ones(2, requires_grad=True)
    checkpoint(run, x, use_reentrant=False).sum().backward()
    assert asked == [False, True]


class TestRepetitions:
    @staticmethod
    def run(events, *, inside):
        """Run a checkpointed part inside or outside of a block, and its backward pass after the block."""

        @contextlib.contextmanager
        def again():
            events.append("begin")
            yield
            events.append("end")

        x = torch.ones(2, requires_grad=True)
        part = lambda x: events.append("run") or x.sin()  # noqa: E731
        before = None if inside else checkpoint(part, x, use_reentrant=False)
        with run_repetitions_in(again):
            output = checkpoint(part, x, use_reentrant=False) if inside else before
        output.sum().backward()

    def test_what_was_checkpointed_inside_is_repeated_in_the_context(self):
        events = []
        self.run(events, inside=True)
        assert events[:3] == ["run", "begin", "run"]

    def test_what_was_checkpointed_before_is_not(self):
        events = []
        self.run(events, inside=False)
        assert events == ["run", "run"]

    def test_torch_is_left_as_it_was(self):
        before = torchs._CheckpointFrame, torchs._recomputation_hook
        with run_repetitions_in(contextlib.nullcontext):
            assert torchs._CheckpointFrame is not before[0]
        assert (torchs._CheckpointFrame, torchs._recomputation_hook) == before
