"""A device that is not the CPU and knows no float64, as Apple's is: a stand-in for one, where there is none.

Tensors of the stand-in compute on the CPU, but say that they are on ``mps:0``. They fail on float64 and where they meet
tensors of the CPU, as real ones do: what hard-codes a device or a double anywhere on the way does not get through.
"""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.grounding import AttentionGroundingLoss, grounding_targets
from mmgrad_explain.metrics import faithfulness, localization, report

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")

DOORS = ("call", "capture", "texts", "words", "captum")
PLACE = torch.device("mps", 0)


class Elsewhere(torch.Tensor):
    """A tensor that is not on the CPU, as far as one can see."""

    @staticmethod
    def __new__(cls, inner):
        if inner.dtype in {torch.float64, torch.complex128}:
            raise TypeError("the device does not know float64")
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype
        )

    def __init__(self, inner):
        self.inner = inner

    @property
    def device(self):
        return PLACE

    def __repr__(self):
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist:
            return args[0].inner.tolist()
        if func is torch.Tensor.numpy:
            raise TypeError("the device has no numpy arrays: move the tensor to the CPU first")
        if func in {torch.Tensor.cpu, torch.Tensor.to}:
            return moved(func, *args, **kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def moved(func, tensor, *args, **kwargs):
    """``tensor.to(...)`` and ``tensor.cpu()`` where the tensor or another one is elsewhere."""
    other = next((one for one in args if isinstance(one, torch.Tensor)), None)
    places = [one for one in (*args, *kwargs.values()) if isinstance(one, (torch.device, str))]
    place = torch.device(places[0]) if places else (tensor if other is None else other).device
    if func is torch.Tensor.cpu:
        place = torch.device("cpu")
    dtypes = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.dtype)]
    dtype = dtypes[0] if dtypes else (tensor if other is None else other).dtype
    if place.type == "mps" and isinstance(tensor, Elsewhere):
        with torch._C.DisableTorchFunctionSubclass():
            return tensor.to(dtype)
    assert not (torch.is_grad_enabled() and tensor.requires_grad), "the stand-in moves no graph"
    inner = (tensor.inner if isinstance(tensor, Elsewhere) else tensor).to(dtype)
    return Elsewhere(inner) if place.type == "mps" else inner


def run(func, args, kwargs):
    leaves = tree_leaves((args, kwargs))
    copies = func in {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
    strangers = [one for one in leaves if isinstance(one, torch.Tensor) and not isinstance(one, Elsewhere) and one.ndim]
    if strangers and any(isinstance(one, Elsewhere) for one in leaves) and not copies:
        raise RuntimeError(f"{func}: expected all tensors to be on one device, but found mps:0 and cpu")
    place = kwargs.get("device")
    if place is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner = tree_map(lambda one: one.inner if isinstance(one, Elsewhere) else one, (args, kwargs))
    out = func(*inner[0], **inner[1])
    if func._schema.is_mutable and args and out is inner[0][0]:
        return args[0]
    return tree_map(lambda one: Elsewhere(one) if isinstance(one, torch.Tensor) else one, out)


class Device(TorchDispatchMode):
    """Makes what is asked for on ``mps``."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        place = kwargs.get("device")
        there = any(isinstance(one, Elsewhere) for one in tree_leaves((args, kwargs)))
        if there or (place is not None and torch.device(place).type == "mps"):
            return run(func, args, kwargs)
        return func(*args, **kwargs)


def take_away(module):
    """Move a module's parameters and buffers to the stand-in."""
    for part in module.modules():
        for name, one in part._parameters.items():
            if one is not None:
                part._parameters[name] = nn.Parameter(Elsewhere(one.detach()), requires_grad=one.requires_grad)
        for name, one in part._buffers.items():
            if one is not None:
                part._buffers[name] = Elsewhere(one)
    return module


def score(output):
    return output.embedding[:, 0]


@pytest.fixture
def drawn(monkeypatch):
    """The device's random generator, which is forked and put back."""
    states = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device: states.append("kept") or torch.zeros(1))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state, device: states.append("put back"))
    return states


@pytest.fixture
def device():
    with Device():
        yield PLACE


def test_the_stand_in_is_strict(device):
    x = torch.ones(2, device=device)
    assert x.device == PLACE
    assert type(x) is type(x + 1) is type(torch.ones(2).to(device)) is Elsewhere
    with pytest.raises(TypeError, match="float64"):
        x.double()
    with pytest.raises(TypeError, match="float64"):
        torch.zeros(2, dtype=torch.float64, device=device)
    with pytest.raises(RuntimeError, match="found mps:0 and cpu"):
        x + torch.ones(2)
    with pytest.raises(TypeError, match="numpy"):
        x.numpy()
    assert type(x.cpu()) is torch.Tensor


@pytest.mark.parametrize("door", DOORS)
def test_every_door(zoo, device, drawn, door):
    model, image, ids = zoo.build(zoo.TwoInput), zoo.pictures(1), zoo.ids(3)
    expected = zoo.by_plain_autograd(model, image, ids)["words" if door == "words" else "maps"]
    found = zoo.through(door, take_away(model), image.to(device), ids.to(device))
    assert found.device == PLACE
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert drawn == ([] if door == "capture" else ["kept", "put back"])


@pytest.mark.parametrize("weighting", ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"])
@pytest.mark.parametrize("fuse", ["mean", "product", "max"])
def test_weightings_and_several_layers(zoo, device, drawn, weighting, fuse):
    cnn, x = zoo.build(zoo.CNN), zoo.pictures()
    layers = ["early", "late"]
    expected = MMGrad(cnn, layers, zoo.class_score(), weighting, fuse=fuse)(x)
    found = MMGrad(take_away(cnn), layers, zoo.class_score(), weighting, fuse=fuse)(x.to(device))
    torch.testing.assert_close(found.maps.cpu(), expected.maps, rtol=1e-3, atol=1e-7)
    assert found.notes == expected.notes


@pytest.mark.parametrize("name", ["similarity", "shift", "pair", "pair-different"])
def test_scores(zoo, device, drawn, name):
    class Shifting(zoo.TwoInput):
        def forward(self, image, ids, target):
            output = super().forward(image, ids, target)
            if name == "shift":
                output.shift = output.embedding - output.target
            return output

    model, inputs = zoo.build(Shifting), (zoo.pictures(), zoo.ids(), zoo.pictures(seed=7))
    expected = MMGrad(model, "tower", name)(*inputs)
    found = MMGrad(take_away(model), "tower", name)(*(one.to(device) for one in inputs))
    torch.testing.assert_close(found.maps.cpu(), expected.maps, rtol=1e-3, atol=1e-7)


def test_what_a_result_offers(zoo, device, drawn, tmp_path):
    cnn, x = zoo.build(zoo.CNN), zoo.pictures()
    expected = MMGrad(cnn, "late", zoo.class_score())(x)
    found = MMGrad(take_away(cnn), "late", zoo.class_score())(x.to(device))
    torch.testing.assert_close(found.resize((16, 24)).cpu(), expected.resize((16, 24)), rtol=1e-3, atol=1e-7)
    assert found.heatmap(1) == pytest.approx(expected.heatmap(1), rel=1e-3, abs=1e-6)
    assert found.peak() == expected.peak()
    assert found.brightest_region() == expected.brightest_region()
    assert found.concentration() == pytest.approx(expected.concentration(), rel=1e-3)
    assert found.to("cpu").maps.device.type == "cpu"
    assert (found.save(tmp_path / "folder") / "maps.npz").exists()


@pytest.mark.parametrize("kind", ["CNN", "ViT"])
def test_a_layer_is_found(zoo, device, drawn, kind):
    options = {"size": (32, 40)} if kind == "ViT" else {}
    model, x = zoo.build(getattr(zoo, kind), **options), zoo.pictures(size=(32, 40))
    expected = candidate_layers(model, x, score=zoo.class_score())
    assert candidate_layers(take_away(model), x.to(device), score=zoo.class_score()) == expected


@pytest.mark.parametrize("form", ["dice", "bce", "softmax", "softplus", "kl"])
def test_a_step_with_a_loss_on_the_maps(zoo, device, form):
    """Masks, boxes and points, given on the device, laid on the grid there; the gradients are the CPU's."""
    steps = []
    masks = torch.zeros(3, 8, 12)
    masks[1, :4, :6] = 1
    boxes, points = [torch.tensor([[0.1, 0.2, 0.5, 0.6]]), None, None], [None, None, torch.tensor([[0.5, 0.5]])]
    weights = {"form": 1.0, "contrast": 1.0, "margin": 1.0}
    for away in (False, True):
        model = zoo.build(zoo.TwoInput)
        here = (lambda one: None if one is None else one.to(device)) if away else (lambda one: one)
        model = take_away(model) if away else model
        mmgrad, grounding = MMGrad(model, "tower.body"), AttentionGroundingLoss(form, weights=weights)
        with mmgrad.capture() as seen:
            output = model(here(zoo.pictures(3)), here(zoo.ids(3)))
        maps = mmgrad.attend(score(output), seen, create_graph=True, relu=False)
        targets = grounding_targets(
            (4, 6), masks=here(masks), boxes=list(map(here, boxes)), points=list(map(here, points))
        )
        assert targets.masks.device == maps.device
        others = here(torch.ones(3, 4, 6))
        grounding(maps, targets, other_masks=others).backward()
        steps.append([one.grad for one in model.parameters() if one.grad is not None])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-3, atol=1e-6)


def test_figures_of_maps(device):
    """The evaluation, too, takes maps as they are."""
    maps = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    masks, others = torch.zeros(3, 8, 12), torch.zeros(3, 8, 12)
    masks[:, :4, :6], others[:, 5:, 7:] = 1, 1
    figures = {
        "pointing": lambda here: localization.pointing_game(here(maps), here(masks)),
        "energy": lambda here: localization.energy_inside(here(maps), here(masks)),
        "overlap": lambda here: localization.intersection_over_union(here(maps), here(masks)),
        "contrast": lambda here: localization.contrast_accuracy(here(maps), here(masks), here(others)),
        "auc": lambda here: localization.roc_auc(here(maps), here(masks)),
        "ranks": lambda here: faithfulness.rank_correlation(here(maps), here(maps.flip(0))),
        "deletion": lambda here: (
            faithfulness.deletion_insertion(
                lambda pictures, index: pictures.mean((1, 2, 3)),
                here(maps[:, None].repeat(1, 3, 1, 1)),
                here(maps),
                steps=3,
            ).deletion
        ),
        "mean": lambda here: torch.tensor(
            [report.mean_of_known(here(maps[:, 0, 0])), report.confidence_half_width(here(maps[:, 0, 0]))]
        ),
    }
    for name, figure in figures.items():
        found = figure(lambda one: one.to(device)).cpu()
        torch.testing.assert_close(found, figure(lambda one: one), msg=name)
