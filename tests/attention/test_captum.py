"""MMGrad among captum's own: the same numbers as LayerGradCam, and captum's tools take it."""

import subprocess
import sys

import pytest
import torch
from captum.attr import Attribution, LayerAttribution, LayerGradCam, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max

from mmgrad_explain import MMGradAttribution
from mmgrad_explain.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


@pytest.fixture
def model(zoo):
    return zoo.build(zoo.CNN)


@pytest.fixture
def both(zoo):
    """Picture and text to three numbers."""

    class Matched(zoo.TwoInput):
        def forward(self, image, ids):
            return super().forward(image, ids).embedding[:, :3]

    return zoo.build(Matched)


@pytest.mark.parametrize("target", [2, torch.tensor([1, 3]), [1, 3], (2,), torch.tensor(2), [(1,), (3,)]])
@pytest.mark.parametrize("relu", [True, False])
def test_equals_layer_grad_cam(zoo, model, target, relu):
    image = zoo.pictures()
    theirs = LayerGradCam(model, model.late).attribute(image, target, relu_attributions=relu)
    method = MMGradAttribution(model, model.late)
    assert isinstance(method, Attribution)
    with zoo.leaves_alone(model):
        ours = method.attribute(image, target, upsample=False, relu_attributions=relu)
    torch.testing.assert_close(ours, theirs.detach())
    upsampled = method.attribute(image, target, channels="one", relu_attributions=relu)
    expected = LayerAttribution.interpolate(theirs.detach(), (16, 24), "bilinear")
    torch.testing.assert_close(upsampled, expected)
    every = method.attribute(image, target, relu_attributions=relu)
    assert every.shape == image.shape
    torch.testing.assert_close(every[:, 1], expected[:, 0])
    shared = method.attribute(image, target, channels="share", relu_attributions=relu)
    torch.testing.assert_close(shared.sum(1, keepdim=True), expected)


def test_text_is_an_additional_argument(zoo, both):
    image, ids = zoo.pictures(), zoo.ids()
    method = MMGradAttribution(both, "tower")
    expected = LayerGradCam(both, both.tower).attribute(image, 1, ids, relu_attributions=True).detach()
    for more in (ids, (ids,)):
        torch.testing.assert_close(method.attribute(image, 1, more, upsample=False), expected)
    assert not torch.equal(method.attribute(image, 1, ids.flip(0)), method.attribute(image, 1, ids))


def test_without_a_target_the_score_counts(zoo):
    model = zoo.build(zoo.TwoInput)
    image, ids = zoo.pictures(), zoo.ids()
    score = lambda output: output.embedding[:, 1]  # noqa: E731
    found = MMGradAttribution(model, "tower", score).attribute(image, additional_forward_args=ids)
    torch.testing.assert_close(found, MMGradAttribution(model, "tower").attribute(image, 1, ids))


def test_two_pictures_get_two_maps(zoo):
    model = zoo.build(zoo.TwoInput)
    reference, target, ids = zoo.pictures(), zoo.pictures(seed=5), zoo.ids()

    class Swapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, reference, target, ids):
            return self.model(reference, ids, target)

    method = MMGradAttribution(Swapped(), "model.tower", "pair")
    first, second = method.attribute((reference, target), additional_forward_args=ids)
    assert first.shape == second.shape == reference.shape
    turned = method.attribute((target, reference), additional_forward_args=ids)
    torch.testing.assert_close(turned[0], second)
    with pytest.raises(InputError, match=r"inputs: 2 images, but the layer ran 1 time\(s\)"):
        MMGradAttribution(Summed(model), "tower.tower").attribute((reference, target), 0, ids)


class Summed(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower = model

    def forward(self, first, second, ids):
        return self.tower(first + second, ids).embedding


def test_several_layers(zoo, model):
    image = zoo.pictures()
    method = MMGradAttribution(model, ["early", "late"])
    assert method.layer_names == ("early", "late")
    assert method.attribute(image, 1, upsample=False).shape == (2, 1, 8, 12)
    signed = method.attribute(image, 1, upsample=False, relu_attributions=False)
    assert signed.shape == (2, 1, 8, 12)
    found = MMGradAttribution(zoo.build(zoo.ViT, pool="mean"), score=zoo.class_score())
    assert found.layer_names == ()
    plain = found.attribute(image)
    assert found.layer_names != ()
    torch.testing.assert_close(found.attribute(image, 1), plain)


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel(zoo, both, kind):
    image, ids = zoo.pictures(), zoo.ids()
    method = MMGradAttribution(both, "tower")
    tunnel = NoiseTunnel(method)
    torch.manual_seed(0)
    found = tunnel.attribute(image, nt_type=kind, nt_samples=4, stdevs=0.1, target=1, additional_forward_args=ids)
    assert found.shape == image.shape
    assert found.isfinite().all()
    if kind == "smoothgrad":
        still = tunnel.attribute(image, nt_samples=3, stdevs=1e-9, target=1, additional_forward_args=ids)
        torch.testing.assert_close(still, method.attribute(image, 1, ids), rtol=1e-3, atol=1e-7)
        grid = tunnel.attribute(image, nt_samples=2, target=1, additional_forward_args=ids, upsample=False)
        assert grid.shape == (2, 1, 4, 6)


def test_infidelity(zoo, both):
    """The metric's own formula on our attributions: the mean square of (perturbation . attribution - change)."""
    image, ids = zoo.pictures(), zoo.ids()
    attributions = MMGradAttribution(both, "tower").attribute(image, 1, ids)
    noise = 0.1 * torch.randn(image.shape)

    def perturb(inputs):
        return noise[: len(inputs)], inputs - noise[: len(inputs)]

    with torch.no_grad():
        found = infidelity(
            both, perturb, image, attributions, additional_forward_args=ids, target=1, n_perturb_samples=1
        )
        change = (both(image, ids) - both(image - noise, ids))[:, 1]
    expected = ((noise * attributions).sum((1, 2, 3)) - change).square()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_sensitivity(zoo, both):
    image, ids = zoo.pictures(), zoo.ids()
    method = MMGradAttribution(both, "tower")
    found = sensitivity_max(method.attribute, image, target=1, additional_forward_args=ids, n_perturb_samples=3)
    assert found.shape == (2,)
    assert (found > 0).all()
    assert found.isfinite().all()
    none = sensitivity_max(
        method.attribute, image, perturb_radius=0.0, target=1, additional_forward_args=ids, n_perturb_samples=2
    )
    assert none.max() < 1e-5


def test_what_cannot_be_attributed(zoo, both):
    method, image, ids = MMGradAttribution(both, "tower"), zoo.pictures(), zoo.ids()
    with pytest.raises(TypeError, match="inputs must be a tensor or a tuple of tensors"):
        method.attribute([image], 1, ids)
    with pytest.raises(InputError, match=r"not \[\(2, 3, 16, 24\), \(2, 4\)\]; pass texts as additional_forward"):
        method.attribute((image, ids), 1)
    with pytest.raises(InputError, match="channels must be one of 'repeat', 'share', 'one', not 'all'"):
        method.attribute(image, 1, ids, channels="all")
    for target in (7, [0, 1, 2], torch.zeros(3).long(), "one"):
        with pytest.raises(InputError, match=r"target: .* does not fit an output of shape \(2, 3\)"):
            method.attribute(image, target, ids)


def test_captum_waits_until_it_is_wanted():
    code = "import sys, mmgrad_explain.api; print('captum' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
