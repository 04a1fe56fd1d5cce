"""Maps in somebody's own training step: their graph, their flags, second derivatives."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import CaptureError, GradientError, InputError


def plain_map(zoo, model, x, index=1):
    """Differentiable Grad-CAM at ``late`` of a CNN, written without hooks."""
    grid = model.features(x)
    score = model.head(functional.gelu(grid).mean((2, 3)))[:, index]
    (gradient,) = torch.autograd.grad(score.sum(), grid, create_graph=True)
    return zoo.grad_cam(grid, gradient)


def captured(mmgrad, model, *inputs, **options):
    with mmgrad.capture(**options) as seen:
        output = model(*inputs)
    return output, seen


def test_maps_and_their_gradients_are_those_of_plain_autograd(zoo, cnn, x):
    mmgrad = MMGrad(cnn, "late", method="gradcam")
    output, seen = captured(mmgrad, cnn, x)
    made = mmgrad.attend(output[:, 1], seen, create_graph=True)
    expected = plain_map(zoo, cnn, x)
    assert torch.allclose(made, expected, atol=1e-7)
    parameters = list(cnn.parameters())
    ours = torch.autograd.grad(made.square().sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(expected.square().sum(), parameters, allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-6)
    assert all(parameter.grad is None for parameter in parameters), "attend() leaves .grad alone"


def test_a_training_step_moves_the_map(zoo, cnn, x):
    """The map loss reaches the weights: with it alone the map can be pulled to a corner."""
    cnn.train()
    mmgrad = MMGrad(cnn, "late")
    optimizer = torch.optim.Adam(cnn.parameters(), lr=0.02)
    outside = torch.ones(4, 6)
    outside[:2, :3] = 0
    shares = []
    for _ in range(25):
        output, seen = captured(mmgrad, cnn, x)
        maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        share = (maps * outside).sum() / (maps.sum() + 1e-6)
        optimizer.zero_grad()
        (share + 0.1 * functional.cross_entropy(output, torch.tensor([1, 1]))).backward()
        optimizer.step()
        shares.append(float(share.detach()))
    assert cnn.training
    assert shares[-1] < 0.5 * shares[0]


@pytest.mark.parametrize("weighting", ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"])
def test_second_derivatives_in_float64(zoo, weighting):
    model = zoo.build(zoo.CNN, channels=2, classes=2).double()
    mmgrad = MMGrad(model, "late", weighting=weighting)

    def maps(x):
        output, seen = captured(mmgrad, model, x)
        return mmgrad.attend(output[:, 1], seen, create_graph=True, relu=False)

    x = zoo.pictures(1, (6, 8)).double().requires_grad_()
    assert maps(x).dtype == torch.float64
    assert torch.autograd.gradcheck(maps, x)
    assert torch.autograd.gradgradcheck(maps, x)


def test_second_derivatives_through_attention(zoo):
    """A loss on the maps needs the second derivative of the score (gradcheck of the maps); the third is checked without
    LayerNorm, whose third derivative is wrong in torch itself."""
    for third in (False, True):
        model = zoo.build(zoo.ViT, width=4, depth=2, patch=4, size=(4, 8)).double()
        if third:
            model.norm = nn.Identity()
            for block in model.blocks:
                block.norm1 = block.norm2 = nn.Identity()
        mmgrad = MMGrad(model, "blocks.0")

        def maps(x, model=model, mmgrad=mmgrad):
            output, seen = captured(mmgrad, model, x)
            return mmgrad.attend(output[:, 1], seen, create_graph=True, relu=False)

        x = zoo.pictures(1, (4, 8)).double().requires_grad_()
        assert torch.autograd.gradcheck(maps, x, fast_mode=third)
        assert not third or torch.autograd.gradgradcheck(maps, x, fast_mode=True)


class TestFusedAttention:
    @staticmethod
    def needs_fused(model, x):
        """Check that the attention of this model does lack its second derivative."""
        output = model(x)
        embedded = [parameter for name, parameter in model.named_parameters() if name == "embed.weight"]
        (slope,) = torch.autograd.grad(output.sum(), embedded, create_graph=True)
        with pytest.raises(RuntimeError, match=r"derivative for aten::_scaled_dot_product_\w+ is not implemented"):
            slope.sum().backward()

    def test_capture_switches_to_plain_products(self, zoo, x):
        model = zoo.build(zoo.ViT)
        self.needs_fused(model, x)
        mmgrad = MMGrad(model, "blocks.0")
        output, seen = captured(mmgrad, model, x)
        mmgrad.attend(output[:, 1], seen, create_graph=True).sum().backward()
        assert model.embed.weight.grad.abs().max() > 0

    def test_without_it_the_error_says_what_to_do(self, zoo, x):
        model = zoo.build(zoo.ViT)
        mmgrad = MMGrad(model, "blocks.0")
        output, seen = captured(mmgrad, model, x, math_attention=False)
        with pytest.raises(GradientError, match=r"capture\(math_attention=True\).*SDPBackend.MATH.*='eager'"):
            mmgrad.attend(output[:, 1], seen, create_graph=True)
        assert mmgrad.attend(output[:, 1], seen).shape == (2, 2, 3), "a first derivative there is"

    def test_the_users_own_switch_is_enough(self, zoo, x):
        model = zoo.build(zoo.ViT)
        mmgrad = MMGrad(model, "blocks.0")
        with sdpa_kernel(SDPBackend.MATH):
            output, seen = captured(mmgrad, model, x, math_attention=False)
        mmgrad.attend(output[:, 1], seen, create_graph=True).sum().backward()

    def test_a_missing_third_derivative_raises(self, zoo, x):
        """The error of autograd itself, where the score already holds a fused attention's gradient."""
        model = zoo.build(zoo.ViT)
        mmgrad = MMGrad(model, "blocks.0")
        with mmgrad.capture(math_attention=False) as seen:
            output = model(x)
            grid = seen.records["blocks.0"][0].activation
            slope = torch.autograd.grad(output.sum(), grid, create_graph=True)[0]
        with pytest.raises(GradientError, match="gradient of fused attention cannot be differentiated again"):
            mmgrad.attend(slope.square().sum((1, 2)), seen)


class TestTheUsersGraph:
    def test_nothing_is_switched(self, zoo, cnn, x):
        cnn.train()
        mmgrad = MMGrad(cnn, "late")
        twin = copy.deepcopy(cnn)
        torch.manual_seed(0)
        expected = twin(x)
        torch.manual_seed(0)
        output, _ = captured(mmgrad, cnn, x)
        assert torch.equal(output, expected), "dropout and batch statistics as the user has them"
        assert torch.equal(cnn.norm.running_mean, twin.norm.running_mean)
        assert cnn.norm.num_batches_tracked == 1

    def test_backward_comes_after_attend(self, cnn, x):
        mmgrad = MMGrad(cnn, "late")
        output, seen = captured(mmgrad, cnn, x)
        mmgrad.attend(output[:, 1], seen)
        mmgrad.attend(output[:, 2], seen)
        output.sum().backward()
        with pytest.raises(GradientError, match=r"was freed already: attend before loss.backward\(\)"):
            mmgrad.attend(output[:, 1], seen)

    def test_retain_graph_can_be_refused(self, cnn, x):
        mmgrad = MMGrad(cnn, "late")
        output, seen = captured(mmgrad, cnn, x)
        mmgrad.attend(output[:, 1], seen, retain_graph=False)
        with pytest.raises(GradientError, match="was freed"):
            mmgrad.attend(output[:, 1], seen)

    def test_frozen_backbone(self, zoo, cnn, x):
        """A layer whose parameters need no gradient gives a map; the loss trains what follows."""
        expected = plain_map(zoo, cnn, x)
        for part in (cnn.early, cnn.norm, cnn.late):
            part.requires_grad_(False)
        mmgrad = MMGrad(cnn, "late", method="gradcam")
        output, seen = captured(mmgrad, cnn, x)
        maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        assert torch.allclose(maps, expected, atol=1e-7)
        maps.sum().backward()
        assert cnn.head.weight.grad.abs().max() > 0
        assert cnn.late.weight.grad is None

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_gradients_off(self, cnn, x, mode):
        mmgrad = MMGrad(cnn, "late")
        if mode is torch.inference_mode:
            with mode(), pytest.raises(GradientError, match=r"inside a torch.inference_mode\(\) block"):
                captured(mmgrad, cnn, x)
            return
        with mode():
            output, seen = captured(mmgrad, cnn, x)
        with pytest.raises(GradientError, match=r"gradients were off \(torch.no_grad\) when the layer ran"):
            mmgrad.attend(output[:, 1], seen)

    def test_autocast(self, zoo, cnn, x):
        mmgrad = MMGrad(cnn, "late", method="gradcam")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output, seen = captured(mmgrad, cnn, x)
            assert output.dtype == torch.bfloat16
            maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        assert maps.dtype == torch.float32
        assert torch.allclose(maps, plain_map(zoo, cnn, x), atol=0.02 * maps.max().item())
        maps.sum().backward()
        assert cnn.early.weight.grad.isfinite().all()

    def test_only_the_last_stage_is_differentiated_twice(self, cnn, x):
        """A model that calls a part directly: the capture sees the layer whichever way it is called."""
        mmgrad = MMGrad(cnn, "late")
        with mmgrad.capture() as seen:
            score = cnn.head(functional.gelu(cnn.features(x)).mean((2, 3)))[:, 1]
        assert mmgrad.attend(score, seen).shape == (2, 4, 6)


class TestWrongUse:
    def test_a_capture_is_for_one_block(self, cnn, x):
        block = MMGrad(cnn, "late").capture()
        with block:
            cnn(x)
        with pytest.raises(CaptureError, match=r"has recorded its block already: call capture\(\) again"), block:
            pass

    def test_blocks_may_be_nested(self, zoo, cnn, x):
        first, second = MMGrad(cnn, "late", method="gradcam"), MMGrad(cnn, "late", method="gradcam")
        with first.capture() as outer, second.capture() as inner:
            score = cnn(x)[:, 1]
        expected = plain_map(zoo, cnn, x)
        assert torch.allclose(first.attend(score, outer), expected, atol=1e-7)
        assert torch.allclose(second.attend(score, inner), expected, atol=1e-7)

    def test_an_empty_capture(self, cnn, x):
        mmgrad = MMGrad(cnn, "late")
        with mmgrad.capture() as seen:
            pass
        score = cnn(x)[:, 1]
        with pytest.raises(CaptureError, match="layer 'late' never ran in this forward"):
            mmgrad.attend(score, seen)

    def test_a_capture_of_another_model(self, zoo, cnn, x):
        output, seen = captured(MMGrad(cnn, "late"), cnn, x)
        with pytest.raises(InputError, match="seen was recorded for another model"):
            MMGrad(zoo.build(zoo.CNN), "late").attend(output[:, 1], seen)
        assert MMGrad(cnn, "early").attend(output[:, 1], seen).shape == (2, 4, 6), "the same model will do"

    def test_something_else_than_a_capture(self, cnn, x):
        with pytest.raises(TypeError, match=r"seen must be what capture\(\) gave, not dict"):
            MMGrad(cnn, "late").attend(cnn(x)[:, 1], {})

    def test_no_layer_known(self, zoo, cnn, x):
        mmgrad = MMGrad(cnn, score=zoo.class_score())
        with pytest.raises(InputError, match=r"target_layers: none was named, and capture\(\) cannot look for one"):
            mmgrad.capture()
        mmgrad(x)
        output, seen = captured(mmgrad, cnn, x)
        assert mmgrad.attend(output[:, 1], seen).shape == (2, 4, 6)

    @pytest.mark.parametrize("score", [lambda o: o, lambda o: o[:, 1].mean(), lambda o: o[:1, 1]])
    def test_not_one_number_a_sample(self, cnn, x, score):
        mmgrad = MMGrad(cnn, "late")
        output, seen = captured(mmgrad, cnn, x)
        with pytest.raises(InputError, match=r"score must have one number a sample, shape \(2,\)"):
            mmgrad.attend(score(output), seen)

    def test_a_class_token_read_from_the_last_block(self, zoo, x):
        model = zoo.build(zoo.ViT)
        mmgrad = MMGrad(model, "blocks.2")
        output, seen = captured(mmgrad, model, x)
        with pytest.raises(GradientError, match=r"zero on every patch of layer 'blocks.2'.*'blocks.1'"):
            mmgrad.attend(output[:, 1], seen, create_graph=True)


class TestSeveralCallsAndLayers:
    @pytest.fixture
    def siamese(self, zoo):
        return zoo.build(zoo.TwoInput)

    def test_call(self, zoo, siamese, x):
        target = zoo.pictures(seed=9)
        mmgrad = MMGrad(siamese, "tower.body", method="gradcam")
        output, seen = captured(mmgrad, siamese, x, zoo.ids(), target)
        score = (output.embedding * output.target_composed).sum(-1)
        for call, picture in enumerate((x, target)):
            other = siamese.tower(target if call == 0 else x)
            grid = siamese.tower(picture).detach().requires_grad_()
            text = siamese.words(zoo.ids())
            both = (siamese.compose(grid, text) * siamese.compose(other, text).detach()).sum()
            expected = zoo.grad_cam(grid, torch.autograd.grad(both, grid)[0])
            assert torch.allclose(mmgrad.attend(score, seen, call=call), expected, atol=1e-6)
        maps = mmgrad.attend_all(score, seen)
        assert torch.equal(maps["tower.body"][1], mmgrad.attend(score, seen, call=1))

    @pytest.mark.parametrize("call", [2, -1, 0.5])
    def test_no_such_call(self, zoo, siamese, x, call):
        mmgrad = MMGrad(siamese, "tower.body")
        output, seen = captured(mmgrad, siamese, x, zoo.ids(), x)
        with pytest.raises(InputError, match=rf"layer 'tower.body' ran 2 time\(s\): call must be 0 to 1, not {call}"):
            mmgrad.attend(output.embedding.sum(-1), seen, call=call)

    def test_a_call_the_score_does_not_depend_on(self, zoo, siamese, x):
        mmgrad = MMGrad(siamese, "tower.body")
        output, seen = captured(mmgrad, siamese, x, zoo.ids(), x)
        score = output.embedding.sum(-1)
        with pytest.raises(
            GradientError, match=r"does not depend on call 1 of layer 'tower.body'; it depends on \[0\]"
        ):
            mmgrad.attend(score, seen, call=1)
        assert mmgrad.attend_all(score, seen)["tower.body"][1].abs().max() == 0

    def test_layers_are_fused_differentiably(self, cnn, x):
        mmgrad = MMGrad(cnn, ["early", "late"], fuse="product")
        output, seen = captured(mmgrad, cnn, x)
        maps = mmgrad.attend(output[:, 1], seen, create_graph=True)
        assert maps.shape == (2, 8, 12), "the finest grid"
        maps.sum().backward()
        assert cnn.early.weight.grad.isfinite().all()

    def test_several_weightings_share_one_gradient(self, cnn, x):
        mmgrad = MMGrad(cnn, ["early", "late"])
        output, seen = captured(mmgrad, cnn, x)
        names = ["layercam", "gradcam", lambda a, g: a.mean(1)]
        together = mmgrad.attend(output[:, 1], seen, weighting=names, create_graph=True)
        assert together.shape == (3, 2, 8, 12)
        for made, name in zip(together, names, strict=True):
            assert torch.equal(made, mmgrad.attend(output[:, 1], seen, weighting=name))
        with pytest.raises(InputError, match="method: the list is empty"):
            mmgrad.attend(output[:, 1], seen, weighting=[])

    def test_signed_maps(self, cnn, x):
        mmgrad = MMGrad(cnn, "late")
        output, seen = captured(mmgrad, cnn, x)
        signed = mmgrad.attend(output[:, 1], seen, relu=False)
        assert signed.min() < 0
        assert torch.equal(signed.relu(), mmgrad.attend(output[:, 1], seen))
        other = mmgrad.attend(output[:, 1], seen, weighting="hirescam", relu=False)
        assert not torch.allclose(other, signed)


def test_a_step_of_many_texts(zoo):
    """One capture, several scores: the gradients of each are its own."""
    model = zoo.build(zoo.TwoInput)
    mmgrad = MMGrad(model, "tower.body")
    x = zoo.pictures(1).expand(3, -1, -1, -1)
    output, seen = captured(mmgrad, model, x, zoo.ids(3))
    together = mmgrad.attend(output.embedding[:, 0], seen)
    for index in range(3):
        alone, one = captured(mmgrad, model, x[:1], zoo.ids(3)[index : index + 1])
        assert torch.allclose(mmgrad.attend(alone.embedding[:, 0], one)[0], together[index], atol=1e-6)


def test_transformers_training_flag_of_the_parts_stays(zoo, x):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = zoo.build(zoo.Tower).requires_grad_(False)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.frozen(x).mean((2, 3)))

    model = Mixed().train()
    model.frozen.eval()
    mmgrad = MMGrad(model, "frozen.body")
    with zoo.leaves_alone(model):
        output, seen = captured(mmgrad, model, x)
        mmgrad.attend(output[:, 1], seen, create_graph=True)
