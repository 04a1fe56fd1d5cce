"""Models inside something: adapters, offloading hooks, parametrizations; through every door."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from mmgrad_explain import MMGrad, candidate_layers
from mmgrad_explain.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def score(output):
    return output.embedding[:, 0]


class TestAdapters:
    @staticmethod
    def adapted(model, targets, **options):
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(target_modules=targets, r=2, init_lora_weights=False, **options)
        return get_peft_model(model, config)

    @pytest.mark.parametrize("merged", [False, True])
    @pytest.mark.parametrize("layer", ["tower.body", "base_model.model.tower.body"])
    def test_lora(self, zoo, model, image, ids, door, merged, layer):
        """On layers, on the target layer, and on the words' embedding; in training, with dropout of its own."""
        adapted = self.adapted(model, ["gate", "out", "tower.body", "tokens"], lora_dropout=0.1).train()
        if door == "capture":  # which leaves the dropout to the user
            adapted.eval()
        plain = copy.deepcopy(adapted).eval().merge_and_unload()
        if merged:
            adapted.merge_adapter()
        trainable = {name for name, one in adapted.named_parameters() if one.requires_grad}
        assert trainable
        assert all("lora_" in name for name in trainable)
        zoo.check(door, adapted, plain, image, ids, layer=layer)
        assert {name for name, one in adapted.named_parameters() if one.requires_grad} == trainable

    def test_the_adapter_counts(self, zoo, model, image, ids):
        adapted = self.adapted(model, ["gate", "tokens"]).eval()
        with adapted.disable_adapter():
            zoo.check("words", adapted, zoo.build(zoo.TwoInput), image, ids)
        plain = zoo.by_plain_autograd(zoo.build(zoo.TwoInput), image, ids)
        for door, key in (("call", "maps"), ("words", "words")):
            assert not torch.allclose(zoo.through(door, adapted, image, ids), plain[key], rtol=0.01)

    def test_a_layer_that_is_trained_whole(self, zoo, model, image, ids):
        adapted = self.adapted(model, ["gate"], modules_to_save=["tower.body"]).eval()
        plain = copy.deepcopy(adapted).merge_and_unload()
        zoo.check("call", adapted, plain, image, ids)
        zoo.check("capture", adapted, plain, image, ids)

    def test_a_layer_is_found(self, model, image, ids):
        adapted = self.adapted(model, ["gate", "tokens"])
        found = candidate_layers(adapted, image, ids[:1], score=score)
        assert [one.name for one in found if one.chosen] == ["base_model.model.tower"]
        assert [one.name for one in found if one.mixes_text] == ["base_model.model.fusion"]

    def test_a_model_that_names_its_own_layer(self, zoo, image, ids):
        class Named(zoo.TwoInput):
            target_layer = "tower.body"

        adapted = self.adapted(zoo.build(Named), ["gate"]).eval()
        assert MMGrad(adapted).layer_names == ("base_model.model.tower.body",)
        expected = MMGrad(adapted, "base_model.model.tower.body", score)(image, ids[:1]).maps
        assert torch.equal(MMGrad(adapted, None, score)(image, ids[:1]).maps, expected)

    def test_a_loss_on_the_maps_trains_the_adapter_alone(self, model, image, ids):
        adapted = self.adapted(model, ["gate", "tower.stem"])
        mmgrad = MMGrad(adapted, "tower.body")
        with mmgrad.capture() as seen:
            output = adapted(image, ids[:1])
        mmgrad.attend(score(output), seen, create_graph=True, relu=False).square().sum().backward()
        moved = {name for name, one in adapted.named_parameters() if one.grad is not None and bool(one.grad.any())}
        assert moved
        assert all("lora_" in name for name in moved)
        assert any("stem" in name for name in moved)

    def test_clip(self, zoo):
        """transformers' CLIP, with adapters on its attention: as if they were merged."""
        clip = zoo.clip()
        inputs = {"pixel_values": zoo.pictures(2, (32, 32)), "input_ids": torch.tensor([[1, 5, 19], [2, 9, 19]])}
        adapted = self.adapted(clip, ["q_proj", "v_proj"]).eval()
        plain = copy.deepcopy(adapted).merge_and_unload()
        layer = "vision_model.encoder.layers.1.layer_norm1"
        expected = MMGrad(plain, layer, words=True)(**inputs)
        with zoo.leaves_alone(adapted):
            found = MMGrad(adapted, layer, words=True)(**inputs)
            itself = MMGrad(adapted, method="layercam")(**inputs)
        torch.testing.assert_close(found.maps, expected.maps, rtol=1e-3, atol=1e-7)
        assert [w.value for w in found.words[0]] == pytest.approx([w.value for w in expected.words[0]], rel=1e-3)
        assert found.layouts == {f"base_model.model.{layer}": ("tokens 4 x 4 after 1",)}
        assert itself.layer_names == found.layer_names
        assert torch.equal(itself.maps, found.maps)
        adapted.merge_adapter()
        torch.testing.assert_close(MMGrad(adapted, layer)(**inputs).maps, expected.maps, rtol=1e-3, atol=1e-7)

    def test_timm(self, zoo):
        import timm

        options = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
        vit = zoo.build(lambda: timm.create_model("vit_tiny_patch16_224", reg_tokens=1, **options))
        x = zoo.pictures(2, (32, 32))
        adapted = self.adapted(vit, ["qkv"]).eval()
        expected = MMGrad(copy.deepcopy(adapted).merge_and_unload(), "blocks.1.norm1", zoo.class_score())(x)
        with zoo.leaves_alone(adapted):
            found = MMGrad(adapted, "blocks.1.norm1", zoo.class_score())(x)
        assert found.layouts == {"base_model.model.blocks.1.norm1": ("tokens 4 x 4 after 2",)}
        torch.testing.assert_close(found.maps, expected.maps, rtol=1e-3, atol=1e-6)


class TestDispatched:
    """accelerate puts hooks of its own into a model's forwards, and weights where it wants them."""

    def test_device_map(self, zoo, model, image, ids, door):
        from accelerate import dispatch_model

        places = dict.fromkeys(["tower", "words", "gate", "fusion", "out"], "cpu")
        dispatched = dispatch_model(model, places, main_device="cpu", force_hooks=True)
        assert dispatched.tower._hf_hook
        zoo.check(door, dispatched, zoo.build(zoo.TwoInput), image, ids)

    @pytest.mark.parametrize("place", ["memory", "disk"])
    def test_offloaded(self, zoo, model, image, ids, door, place, tmp_path):
        """The weights come for one forward and are other objects afterwards; they need gradients as before."""
        from accelerate import cpu_offload, disk_offload

        model.fusion.requires_grad_(False)
        flags = [one.requires_grad for one in model.parameters()]
        cpu = torch.device("cpu")
        away = cpu_offload(model, cpu) if place == "memory" else disk_offload(model, str(tmp_path), cpu)
        assert {one.device.type for one in away.parameters()} == {"meta"}
        expected = zoo.plain_answer(door, zoo.build(zoo.TwoInput), image, ids)
        found = zoo.through(door, away, image, ids)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)
        assert [one.requires_grad for one in away.parameters()] == flags
        assert {one.device.type for one in away.parameters()} == {"meta"}

    def test_from_a_folder_with_a_device_map(self, zoo, tmp_path):
        clip = zoo.clip()
        clip.save_pretrained(tmp_path)
        inputs = {"pixel_values": zoo.pictures(1, (32, 32)), "input_ids": torch.tensor([[1, 5, 19]])}
        mapped = type(clip).from_pretrained(tmp_path, device_map="cpu").eval()
        torch.testing.assert_close(MMGrad(mapped)(**inputs).maps, MMGrad(clip)(**inputs).maps)

    def test_a_model_without_weights(self, zoo, image, ids):
        empty = zoo.build(zoo.TwoInput).to("meta")
        for inputs in ((image, ids[:1]), (image.to("meta"), ids[:1].to("meta"))):
            with pytest.raises(InputError, match=r"model: 'tower.stem.weight' is on the meta device.*load the weights"):
                MMGrad(empty, "tower", score)(*inputs)


class TestParametrizations:
    @pytest.mark.parametrize("kind", ["weight norm", "spectral norm", "orthogonal"])
    def test_of_weights(self, zoo, model, image, ids, door, kind):
        add = {
            "weight norm": parametrizations.weight_norm,
            "spectral norm": parametrizations.spectral_norm,
            "orthogonal": parametrizations.orthogonal,
        }[kind]
        for layer in (model.tower.body, model.gate) if kind != "orthogonal" else (model.gate, model.out):
            add(layer)
        zoo.check(door, model, model, image, ids)

    def test_hooks_of_the_older_kind(self, zoo, model, image, ids):
        torch.nn.utils.weight_norm(model.tower.body)
        torch.nn.utils.spectral_norm(model.fusion)
        model.eval()
        expected = zoo.build(zoo.TwoInput)
        expected.fusion.weight.data = (
            model.fusion(torch.eye(8)[:, :, None, None]).detach().squeeze().T[:, :, None, None]
        )
        expected.fusion.weight.data -= expected.fusion.bias.data[:, None, None, None]
        expected = zoo.by_plain_autograd(expected, image, ids)["maps"]
        with zoo.leaves_alone(model):
            found = MMGrad(model, "tower.body", score, method="gradcam")(image.expand(3, -1, -1, -1), ids).maps
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-8)

    def test_a_cache_of_the_callers(self, model, image, ids):
        """The weights of an explanation have no graph: the training step after it must not be given them."""
        parametrizations.weight_norm(model.tower.body)
        weights = model.tower.body.parametrizations.weight.original0
        model(image, ids[:1]).embedding.sum().backward()
        expected, weights.grad = weights.grad, None
        mmgrad = MMGrad(model, "tower.body", score)
        with parametrize.cached():
            mmgrad(image, ids[:1])
            model(image, ids[:1]).embedding.sum().backward()
            mmgrad(image, ids[:1])
        assert torch.equal(weights.grad, expected)

    def test_no_layer_is_found_in_a_parametrization(self, model, image, ids):
        parametrizations.weight_norm(model.tower.body)
        found = candidate_layers(model, image, ids[:1], score=score)
        assert [one.name for one in found] == ["tower.stem", "tower.body", "tower", "fusion"]

    def test_tied_weights(self, zoo, model, image, ids, door):
        model.words.mix.weight = model.gate.weight = model.out.weight
        model.tower.body.requires_grad_(False)
        zoo.check(door, model, copy.deepcopy(model), image, ids)


def test_a_wrapper_of_your_own_is_kept_and_names_inside_it_work(zoo, model, image, ids):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, pair):
            return self.inner(*pair)

    expected = MMGrad(model, "tower.body", score)(image, ids[:1]).maps
    for layer in ("inner.tower.body", "tower.body"):
        mmgrad = MMGrad(Wrapper(), layer, score)
        assert mmgrad.layer_names == ("inner.tower.body",)
        assert torch.equal(mmgrad((image, ids[:1])).maps, expected)
        with mmgrad.capture() as seen:
            output = Wrapper()((image, ids[:1]))
        assert torch.equal(mmgrad.attend(score(output), seen, create_graph=True), expected)
