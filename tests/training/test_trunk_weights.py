"""A new network on a trained trunk: its weights, its pixels, its batch norm, and the folder that remembers them."""

import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.reference.transformers_model import ReferenceModel, ReferenceProcessor
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.models import save_composer, starting_composer
from mmgrad_explain.training.run import train

WORDS = ["make", "it", "red", "the", "star"]
NAME, OPTIONS = "mobilenetv2_035", {"pad_type": "same", "output_stride": 16}
CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 8]}
SMALL = {"image_size": 32, "text_width": 16, "text_layers": 1, "heads": 2, "feature_width": 16, "embed_dim": 8}
TRUNK = {
    "backbone": NAME, "backbone_options": OPTIONS, "taps": [1, 2, 3, 4], "frozen_norm": True, "mean": 0.5, "std": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    """A timm model with its classifier, and batch norms that have seen something."""
    torch.manual_seed(3)
    model = timm.create_model(NAME, **OPTIONS).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def file(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(whole.state_dict(), path)
    return path


def start(weights, **changes):
    return starting_composer(ModelOptions(sizes={**SMALL, **TRUNK, **changes}, backbone_weights=str(weights)), WORDS)


def changed(whole, path, **changes):
    """Save the weights with some changed; None leaves one out."""
    state = {**whole.state_dict(), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in state.items() if value is not None}, path)
    return path


def test_the_features_are_those_of_the_whole_model(whole, file, picture):
    composer = start(file)
    assert composer.backbone == ("network.visual",)
    pixels, _ = composer.processor.encode_images([picture])
    seen = []
    handles = [whole.blocks[i].register_forward_hook(lambda *given: seen.append(given[2])) for i in (1, 2, 4, 6)]
    with torch.no_grad():
        whole(pixels)
        ours = composer.network.visual(pixels)  # in training mode: the batch norm is frozen
    for handle in handles:
        handle.remove()
    for own, expected in zip(ours, seen, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)
    assert pixels.min() >= -1
    assert pixels.max() <= 1


def test_half_precision_and_a_file_without_a_head(whole, tmp_path):
    state = {name: value for name, value in whole.state_dict().items() if "classifier" not in name}
    state = {name: value for name, value in state.items() if "conv_head" not in name and not name.startswith("bn2")}
    state = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    save_file({name: value.half() for name, value in state.items()}, tmp_path / "half.safetensors")
    composer = start(tmp_path / "half.safetensors")
    for name, value in composer.network.visual.state_dict().items():
        if "num_batches" not in name:
            assert value.dtype == torch.float32
            assert torch.equal(value, state[name].half().float())


def test_a_folder_remembers_the_trunk(file, tmp_path, picture):
    composer = start(file, mean=[0.4, 0.5, 0.6]).eval()
    save_composer(composer, tmp_path / "model")
    again = load_composer(tmp_path / "model")
    assert again.network.config == composer.network.config
    assert (list(again.processor.mean), again.processor.std) == ([0.4, 0.5, 0.6], 0.5)
    tensors = again.preprocess([picture], ["make it red"]).tensors
    with torch.no_grad():
        torch.testing.assert_close(again(**tensors), composer(**tensors))
    assert not any(module.training for module in again.train().network.visual.modules() if is_norm(module))
    model = ReferenceModel.from_pretrained(tmp_path / "model").train()
    assert not any(module.training for module in model.network.visual.modules() if is_norm(module))
    with pytest.raises(
        InputError, match=r"processor: its processor and its network have different mean: 0\.5 and 0\.4"
    ):
        load_composer(model, ReferenceProcessor(again.processor.tokenizer, image_size=32, std=0.5))
    assert load_composer(model, ReferenceProcessor.from_pretrained(tmp_path / "model")).network is model.network


def is_norm(module):
    return isinstance(module, nn.BatchNorm2d)


def test_a_run_keeps_the_statistics_and_moves_the_weights(file, micro, tmp_path):
    sizes = {**SMALL, **TRUNK}
    config = micro(steps=2, model={"sizes": sizes, "backbone_weights": str(file)}, optimizer={"backbone_lr": 0.1})
    before = start(file).network.visual.state_dict()
    train(config, tmp_path / "run")
    after = load_composer(tmp_path / "run" / "model").network.visual.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {name for name in after if "running" in name or "num_batches" in name}
    # the folder opens without timm, which takes long to import
    code = (
        "import sys; from mmgrad_explain.composers.load import load_composer; load_composer(sys.argv[1]); "
        "print(sorted({'timm', 'transformers', 'torchvision'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run" / "model")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# -------------------------------------------------------------------------------------------- other models and wrappers


def test_names_in_a_wrapper(tmp_path):
    model = timm.create_model("convnext_atto", **CONVNEXT)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    composer = start(tmp_path / "weights.safetensors", backbone="convnext_atto", backbone_options=CONVNEXT, taps=[0, 2])
    assert torch.equal(composer.network.visual.stages_2.blocks[0].norm.weight, model.stages[2].blocks[0].norm.weight)


def test_weights_of_timm_bring_their_pixels(monkeypatch):
    """Timm fetches them; a stand-in of the same shape here."""
    real = timm.create_model

    def stand_in(name, pretrained=False, **options):
        return real(name, **({} if pretrained else options))

    monkeypatch.setattr(timm, "create_model", stand_in)
    sizes = {**SMALL, "backbone": "mobilenetv2_050"}
    composer = starting_composer(ModelOptions(sizes=sizes, backbone_weights="pretrained"), WORDS)
    assert composer.backbone
    assert composer.processor.mean == (0.485, 0.456, 0.406)
    assert composer.processor.std == (0.229, 0.224, 0.225)
    other = ModelOptions(sizes={**sizes, "std": 0.5}, backbone_weights="pretrained")
    assert starting_composer(other, WORDS).processor.std == 0.5

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise RuntimeError("no pretrained weights\nat all")
        return real(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"no pretrained 'mobilenetv2_050' could be had: no pretrained weights$"):
        starting_composer(ModelOptions(sizes=sizes, backbone_weights="pretrained"), WORDS)


# --------------------------------------------------------------------------------------------------------------- errors


def test_pixels_must_be_said():
    with pytest.raises(InputError, match=r"say how these weights take pixels in \[0, 1\], by model\.sizes\.mean and"):
        ModelOptions(sizes={"mean": 0.5}, backbone_weights="weights.safetensors")


def test_weights_that_do_not_fit(whole, file, tmp_path):
    unfit = r"weights.safetensors does not fit 'mobilenetv2_035' with its options: "
    path = tmp_path / "weights.safetensors"
    name = "blocks.1.0.conv_pw.weight"
    with pytest.raises(InputError, match=unfit + f"it has no '{name}'$"):
        start(changed(whole, path, blocks__1__0__conv_pw__weight=None))
    with pytest.raises(InputError, match=unfit + f"its '{name}' has the shape \\[1, 2\\], not \\[48, 8, 1, 1\\]"):
        start(changed(whole, path, blocks__1__0__conv_pw__weight=torch.zeros(1, 2)))
    with pytest.raises(InputError, match=unfit + "no such model has 'extra.bias' and 1 more"):
        start(changed(whole, path, extra__weight=torch.zeros(1), extra__bias=torch.zeros(1)))
    with pytest.raises(
        InputError, match=r"does not fit 'mobilenetv2_140' with its options: its 'conv_stem.weight' has"
    ):
        start(file, backbone="mobilenetv2_140")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for wrong in ("broken", "missing"):
        with pytest.raises(InputError, match=f"model.backbone_weights: .*{wrong}.safetensors cannot be read"):
            start(tmp_path / f"{wrong}.safetensors")


def test_a_trunk_without_a_batch_norm_in_the_file(tmp_path):
    save_file({"conv1.0.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(
        InputError, match=r"does not fit 'mobilenetv2_035' with its options: it has no 'conv_stem.weight' "
    ):
        start(tmp_path / "weights.safetensors")
