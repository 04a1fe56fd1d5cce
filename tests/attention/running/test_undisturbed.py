"""A call leaves no trace on the model, on other threads, or on the random number generators."""

import threading
import time
from typing import Any, NamedTuple

import pytest
import torch

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import CaptureError


class Pair(NamedTuple):
    name: Any
    pixels: Any


class TestTheModelComesBack:
    @pytest.mark.parametrize("training", [True, False])
    def test_after_a_call(self, zoo, cnn, x, training):
        cnn.train(training)
        cnn.norm.eval()
        cnn.early.weight.requires_grad_(False)
        cnn.head(torch.ones(1, 6)).sum().backward()
        cnn.late.register_forward_hook(lambda *_: None)
        with zoo.leaves_alone(cnn):
            made = MMGrad(cnn, "late", zoo.class_score(), method="gradcam")(x).maps
        assert torch.allclose(made, zoo.cnn_map(cnn, x), atol=1e-6)

    @pytest.mark.parametrize("where", ["layer", "after the layer", "score", "weighting", "layout"])
    def test_after_an_error(self, zoo, cnn, x, where):
        def fail(*_):
            raise ZeroDivisionError(where)

        if where == "after the layer":
            cnn.head.register_forward_hook(fail)
        if where == "layer":
            cnn.late.register_forward_pre_hook(fail)
        mmgrad = MMGrad(
            cnn.train(),
            "late",
            fail if where == "score" else zoo.class_score(),
            fail if where == "weighting" else "gradcam",
            fail if where == "layout" else None,
        )
        with zoo.leaves_alone(cnn), pytest.raises(ZeroDivisionError, match=where):
            mmgrad(x)

    def test_after_looking_for_a_layer(self, zoo, cnn, x):
        mmgrad = MMGrad(cnn.train(), score=zoo.class_score())
        with zoo.leaves_alone(cnn):
            mmgrad(x)

    def test_the_constructor_touches_nothing(self, zoo, cnn):
        with zoo.leaves_alone(cnn.train()):
            MMGrad(cnn, "late", zoo.class_score())
            MMGrad(cnn).capture  # noqa: B018

    def test_after_capture(self, zoo, cnn, x):
        mmgrad = MMGrad(cnn, "late")
        with zoo.leaves_alone(cnn):
            with mmgrad.capture() as seen:
                score = cnn(x)[:, 1]
            mmgrad.attend(score, seen, create_graph=True)
        with zoo.leaves_alone(cnn), pytest.raises(TypeError), mmgrad.capture():
            cnn("not a picture")

    def test_evaluation_mode_does_not_call_train(self, zoo, x):
        class Merging(zoo.CNN):
            """Does more than switching in train(), as adapters that merge their weights do."""

            def train(self, mode=True):
                with torch.no_grad():
                    self.head.weight.mul_(2.0)
                return super().train(mode)

        model = zoo.build(Merging)
        model.training = True
        with zoo.leaves_alone(model):
            MMGrad(model, "late", zoo.class_score())(x)

    def test_parameters_have_no_gradient_to_compute(self, zoo, cnn, x):
        seen = []
        cnn.head.register_forward_hook(lambda module, *_: seen.append((module.weight.requires_grad, module.training)))
        MMGrad(cnn.train(), "late", zoo.class_score())(x)
        assert seen == [(False, False)]

    def test_nothing_before_the_layer_is_in_the_graph(self, zoo, cnn, x):
        seen = []
        cnn.norm.register_forward_hook(lambda _m, _i, output: seen.append(output.requires_grad))
        MMGrad(cnn, "late", zoo.class_score())(x.requires_grad_())
        assert seen == [False]
        assert x.requires_grad
        assert x.grad is None


class TestThreads:
    def test_calls_of_other_threads_are_left_alone(self, zoo, cnn, x):
        """While one thread captures, another one's forward is not recorded and gives what it gives."""
        mmgrad = MMGrad(cnn, "late", method="gradcam")
        with torch.no_grad():
            expected = cnn(x + 1)
        other = {}

        def run():
            with torch.no_grad():
                other["output"] = cnn(x + 1)
                other["graph"] = other["output"].requires_grad

        with mmgrad.capture() as seen:
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            assert seen.records["late"] == []
            with pytest.raises(CaptureError, match="'late' ran only in another thread"):
                mmgrad.attend(expected[:, 1], seen)
            score = cnn(x)[:, 1]
        assert torch.equal(other["output"], expected)
        assert not other["graph"]
        assert len(seen.records["late"]) == 1
        assert torch.allclose(mmgrad.attend(score, seen), zoo.cnn_map(cnn, x), atol=1e-6)

    def test_pictures_of_other_threads_are_left_alone(self, zoo, x):
        class Interrupted(zoo.CNN):
            def forward(self, x):
                if threading.current_thread() is threading.main_thread():
                    thread = threading.Thread(target=self, args=(zoo.pictures(1, (64, 64)),))
                    thread.start()
                    thread.join()
                return super().forward(x)

        model = zoo.build(Interrupted)
        with MMGrad(model, "late").capture() as seen:
            model(x)
        assert [record.image_size for record in seen.records["late"]] == [(16, 24)]

    def test_explanations_wait_for_one_another(self, zoo, x):
        """Parameters' flags belong to the model: a second call must not restore what the first still needs."""
        inside, most = [], []

        class Watched(zoo.CNN):
            def forward(self, x):
                inside.append(1)
                most.append((len(inside), any(p.requires_grad for p in self.parameters())))
                time.sleep(0.002)  # let the others in, if they can
                result = super().forward(x)
                inside.pop()
                return result

        model = zoo.build(Watched)
        expected = zoo.cnn_map(zoo.build(zoo.CNN), x)
        made, errors = [], []

        def run():
            try:
                made.extend(MMGrad(model, "late", zoo.class_score(), method="gradcam")(x).maps for _ in range(5))
            except Exception as error:  # noqa: BLE001
                errors.append(error)

        with zoo.leaves_alone(model):
            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not errors
        assert set(most) == {(1, False)}
        assert len(made) == 20
        assert all(torch.allclose(one, expected, atol=1e-6) for one in made)

    def test_the_lock_can_be_entered_again(self, zoo, cnn, x):
        """A score may itself explain something."""
        inner = MMGrad(cnn, "late", zoo.class_score())
        outer = MMGrad(cnn, "late", lambda output: output[:, 1] * inner(x).maps.mean((1, 2)))
        with zoo.leaves_alone(cnn):
            assert outer(x).maps.shape == (2, 4, 6)


class TestRandomness:
    def test_generators_are_left_alone(self, zoo, x):
        class Noisy(zoo.CNN):
            def forward(self, x):
                return super().forward(x + torch.rand_like(x))

        model = zoo.build(Noisy)
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        MMGrad(model, score=zoo.class_score())(x)
        assert torch.equal(torch.rand(3), expected)
