"""The same maps as captum and pytorch-grad-cam, on a convolutional network and on a vision transformer."""

import copy

import pytest
import timm
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from mmgrad_explain.attention import WEIGHTINGS, MMGrad

THEIRS = {"gradcam": GradCAM, "layercam": LayerCAM, "xgradcam": XGradCAM, "hirescam": HiResCAM}
CLASS = 2


@pytest.fixture(scope="module", params=["cnn", "vit"])
def case(request):
    """(model, layer name, how the outside tools reshape the layer's output)."""
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        if request.param == "cnn":
            model = timm.create_model("resnet10t", num_classes=7, zero_init_last=False).eval()
            return model, "layer3", None
        sizes = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
        model = timm.create_model("vit_tiny_patch16_224", num_classes=7, **sizes).eval()
        return model, "blocks.1.norm1", lambda x: x[:, 1:].transpose(1, 2).unflatten(2, (4, 6))


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


class Regridded(nn.Module):
    """Lays a layer's tokens out as a grid and back, because captum averages over all but the first two dimensions."""

    def __init__(self, layer, reshape):
        super().__init__()
        self.layer, self.grid, self.reshape = layer, nn.Identity(), reshape

    def forward(self, x):
        x = self.layer(x)
        return torch.cat([x[:, :1], self.grid(self.reshape(x)).flatten(2).transpose(1, 2)], 1)


def close(zoo, ours, theirs):
    assert ours.amax((1, 2)).min() > 0
    return (zoo.scaled(ours) - zoo.scaled(theirs)).abs().max() < 1e-5


def test_captum(zoo, case, x):
    model, layer, reshape = case
    ours = MMGrad(model, layer, zoo.class_score(CLASS), method="gradcam")(x).maps
    model = copy.deepcopy(model)
    target = model.get_submodule(layer)
    if reshape is not None:
        regridded = Regridded(target, reshape)
        model.set_submodule(layer, regridded)
        target = regridded.grid
    theirs = LayerGradCam(model, target).attribute(x, target=CLASS, relu_attributions=True)
    assert close(zoo, ours, theirs[:, 0])


def test_captum_differentiably(zoo, x):
    """Its one option for that, and ours: the same gradients of a loss on the maps."""
    model, layer = zoo.build(zoo.CNN), "late"
    parameters = [model.early.weight, model.late.weight, model.head.weight]
    options = {"grad_kwargs": {"create_graph": True}, "relu_attributions": True}
    theirs = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=CLASS, **options)[:, 0]
    mmgrad = MMGrad(model, layer, method="gradcam")
    with mmgrad.capture() as seen:
        output = model(x)
    ours = mmgrad.attend(output[:, CLASS], seen, create_graph=True)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    for one, other in zip(*(torch.autograd.grad(m.square().sum(), parameters) for m in (ours, theirs)), strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7 + 1e-5 * other.abs().max().item())


@pytest.mark.parametrize("weighting", THEIRS)
def test_pytorch_grad_cam(zoo, case, x, weighting):
    model, layer, reshape = case
    ours = MMGrad(model, layer, zoo.class_score(CLASS), weighting)(x)
    twin = copy.deepcopy(model)
    cam = THEIRS[weighting](twin, [twin.get_submodule(layer)], reshape)
    cam.get_target_width_height = lambda _: None  # the layer's own grid, not resized
    theirs = cam(x, [ClassifierOutputTarget(CLASS)] * len(x))
    assert close(zoo, ours.maps, torch.from_numpy(theirs))


def test_xgradcam_divides_by_negative_sums_too(zoo):
    values, slopes = (torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert values.sum((2, 3)).min() < 0 < values.sum((2, 3)).max()
    weights = XGradCAM.get_cam_weights(None, None, None, None, values.numpy(), slopes.numpy())
    theirs = (weights[:, :, None, None] * values.numpy()).sum(1)
    ours = WEIGHTINGS["xgradcam"](values, slopes)
    assert (zoo.scaled(ours) - zoo.scaled(torch.from_numpy(theirs))).abs().max() < 1e-5
