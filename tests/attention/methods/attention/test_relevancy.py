"""Relevancy against the paper's equations in plain float64, on every kind of transformer that it follows."""

import importlib.util
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import transformers

from mmgrad_explain import AttentionGroundingLoss, MMGrad
from mmgrad_explain.attention.methods.attention.relevancy import Relevancy
from mmgrad_explain.attention.several_scores import explain_each
from mmgrad_explain.errors import InputError


def _load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = _load(Path(__file__).with_name("plain_relevancy.py"))
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def expected_rows(model, score, call, batch, read, *, tokens=None):
    """The row of the class token (an index) or the mean row (None), without the identity, of each sample, (B, N)."""
    seen = [one for one in plain.watch(model, score, call) if tokens in {None, one[0].shape[-1]}]
    totals = [plain.relevancy(seen, sample) for sample in range(batch)]
    return torch.stack([total.mean(0) - 1 / len(total) if read is None else total[read] for total in totals])


def assert_maps(found, rows, prefix, grid):
    wanted = rows[:, prefix : prefix + grid[0] * grid[1]].unflatten(1, grid)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.max()))


@pytest.fixture
def vit(zoo):
    return zoo.build(zoo.ViT, depth=2)


class TestTowers:
    @pytest.mark.parametrize(("pool", "prefix", "read"), [("token", 1, 0), ("token", 3, 0), ("mean", 0, None)])
    def test_a_vision_transformer_of_two_blocks(self, zoo, pool, prefix, read):
        model, x = zoo.build(zoo.ViT, depth=2, pool=pool, prefix=prefix), zoo.pictures(3)
        with zoo.leaves_alone(model):
            found = MMGrad(model, score=zoo.class_score(), method="relevancy")(x)
        rows = expected_rows(model, zoo.class_score(), lambda one: one(x.double()), 3, read)
        assert_maps(found.maps, rows, prefix, (2, 3))
        assert found.method == "relevancy"
        assert list(found.layers) == ["blocks.1"]

    @pytest.mark.parametrize("implementation", ["eager", "sdpa"])
    def test_clip_of_transformers(self, zoo, implementation):
        model, x, ids = zoo.clip(), zoo.pictures(2, (32, 32)), torch.tensor([[1, 2, 19], [3, 4, 19]])
        model.set_attn_implementation(implementation)
        found = MMGrad(model, method="relevancy")(pixel_values=x, input_ids=ids)
        rows = expected_rows(model, lambda out: out.logits_per_image.diagonal() / model.logit_scale.exp().double(),
                             lambda one: one(pixel_values=x.double(), input_ids=ids), 2, 0, tokens=17)  # fmt: skip
        assert_maps(found.maps, rows, 1, (4, 4))

    def test_clip_of_open_clip(self, zoo):
        vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
        text = {"context_length": 6, "vocab_size": 30, "width": 16, "heads": 2, "layers": 1}
        model = zoo.build(open_clip.CLIP, 16, vision, text)
        x, ids = zoo.pictures(2, (32, 32)), torch.tensor([[1, 2, 29, 0, 0, 0], [3, 4, 5, 29, 0, 0]])

        def score(output):
            return (output[0] * output[1]).sum(-1)

        found = MMGrad(model, score=score, method="relevancy")(x, ids)
        rows = expected_rows(model, score, lambda one: one(x.double(), ids), 2, 0, tokens=17)
        assert_maps(found.maps, rows, 1, (4, 4))

    def test_a_vit_of_timm_with_registers(self, zoo):
        options = {"embed_dim": 12, "depth": 2, "num_heads": 2, "reg_tokens": 4, "img_size": (32, 64), "num_classes": 4}
        model, x = zoo.build(timm.create_model, "vit_tiny_patch16_224", **options), zoo.pictures(2, (32, 64))
        found = MMGrad(model, score=zoo.class_score(), method="relevancy")(x)
        rows = expected_rows(model, zoo.class_score(), lambda one: one(x.double()), 2, 0)
        assert_maps(found.maps, rows, 5, (2, 4))


class TestOptions:
    def test_the_last_blocks_alone(self, zoo, vit, x):
        found = MMGrad(vit, score=zoo.class_score(), method=Relevancy(blocks=1))(x)
        seen = plain.watch(vit, zoo.class_score(), lambda one: one(x.double()))[1:]
        rows = torch.stack([plain.relevancy(seen, sample)[0] for sample in range(2)])
        assert_maps(found.maps, rows, 1, (2, 3))

    @pytest.mark.parametrize(("blocks", "error"), [(0, InputError), ("all", TypeError)])
    def test_a_wrong_number_of_blocks_is_refused(self, blocks, error):
        with pytest.raises(error, match="blocks must be"):
            Relevancy(blocks=blocks)

    def test_a_batch_is_what_each_sample_is_alone(self, zoo, vit, x):
        mmgrad = MMGrad(vit, score=zoo.class_score(), method="relevancy")
        torch.testing.assert_close(mmgrad(x).maps, torch.cat([mmgrad(x[:1]).maps, mmgrad(x[1:]).maps]))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, zoo, vit, x, dtype):
        exact = MMGrad(vit, score=zoo.class_score(), method="relevancy")(x).maps
        found = MMGrad(vit.to(dtype), score=zoo.class_score(), method="relevancy")(x.to(dtype)).maps
        assert found.dtype == torch.float32
        torch.testing.assert_close(zoo.scaled(found), zoo.scaled(exact), atol=0.1, rtol=0)

    def test_two_images_through_one_tower_have_a_map_each(self, zoo, vit):
        class Pair(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.tower = vit

            def forward(self, first, second):
                return (self.tower(first) * self.tower(second)).sum(-1)

        first, second = zoo.pictures(2), zoo.pictures(2, seed=5)
        found = MMGrad(Pair(), method="relevancy")(first, second)
        assert found.image_names == ("first", "second")
        for number, maps in enumerate(found.calls):
            given = [second.double(), first.double()][number]
            mine = [first.double(), second.double()][number]
            with torch.no_grad():
                other = Pair().double().tower(given)
            rows = expected_rows(vit, lambda out: (out * other).sum(-1), lambda one: one(mine), 2, 0)  # noqa: B023
            vit.float()
            assert_maps(maps, rows, 1, (2, 3))

    def test_several_scores_of_one_forward_have_the_maps_that_each_has_alone(self, zoo, vit, x):
        def two(output):
            return [output[:, :2], output[:, 2:4]]

        mmgrad = MMGrad(vit, score=zoo.class_score(), method="relevancy")
        found = explain_each(mmgrad, {"x": x}, two, [(0, 0), (1, 0), (1, 1)])
        first, second = (MMGrad(vit, score=zoo.class_score(k), method="relevancy")(x).maps for k in (1, 3))
        torch.testing.assert_close(found.maps, torch.stack([first[0], second[0], second[1]]))


class TestTraining:
    def test_maps_of_a_training_step_are_those_of_a_call_and_reach_the_weights(self, zoo, vit, x):
        mmgrad = MMGrad(vit, score=zoo.class_score(), method="relevancy")
        expected = mmgrad(x).maps
        with mmgrad.capture() as seen:
            score = zoo.class_score()(vit(x))
        maps = mmgrad.attend(score, seen, create_graph=True)
        torch.testing.assert_close(maps.detach(), expected)
        masks = torch.zeros(2, 16, 24)
        masks[:, :8, :8] = 1
        loss = AttentionGroundingLoss()(maps, masks)
        loss.backward()
        assert vit.blocks[0].qkv.weight.grad.abs().max() > 0

    def test_the_gradient_of_the_maps_is_right(self, zoo):
        model = zoo.build(zoo.ViT, depth=2, width=4).double()
        mmgrad = MMGrad(model, score=zoo.class_score(), method="relevancy")
        x = zoo.pictures(1).double()
        mmgrad(x)
        weight = model.blocks[0].qkv.weight

        def maps(values):
            def run(x):
                return torch.func.functional_call(model, {"blocks.0.qkv.weight": values}, (x,))

            with mmgrad.capture() as seen:
                score = zoo.class_score()(run(x))
            return mmgrad.attend(score, seen, create_graph=True)

        assert torch.autograd.gradcheck(maps, weight.detach().clone().requires_grad_(), fast_mode=True)

    def test_checkpointed_blocks_attend_again_as_before(self, zoo):
        given = {"pixel_values": zoo.pictures(2, (32, 32)), "input_ids": torch.tensor([[1, 2, 19], [3, 4, 19]])}
        slopes = []
        for checkpointed in (False, True):
            model = zoo.clip().double().train()
            if checkpointed:
                model.gradient_checkpointing_enable({"use_reentrant": False})
            inputs = {name: x.double() if x.is_floating_point() else x for name, x in given.items()}
            mmgrad = MMGrad(model, method="relevancy")
            mmgrad(**inputs)
            with mmgrad.capture() as seen:
                score = model(**inputs).logits_per_image.diagonal()
            mmgrad.attend(score, seen, create_graph=True)[:, 0, 1].sum().backward()
            slopes.append(model.vision_model.encoder.layers[0].self_attn.q_proj.weight.grad)
        assert slopes[0].abs().max() > 0
        torch.testing.assert_close(slopes[1], slopes[0])


class TestRefusals:
    def test_a_network_without_attention(self, zoo, cnn, x):
        with pytest.raises(
            InputError,
            match=r"method 'relevancy' needs .* none was seen \(a convolutional .*\. 'layercam' and 'gradcam' need",
        ):
            MMGrad(cnn, score=zoo.class_score(), method="relevancy")(x)

    def test_patches_in_a_random_order(self, zoo):
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = transformers.ViltConfig(**sizes, vocab_size=20, image_size=32, patch_size=8)
        model = zoo.build(transformers.ViltForImageAndTextRetrieval, config)
        with pytest.raises(InputError, match=r"method 'relevancy' needs .*random order.*'layercam'"):
            MMGrad(model, method="relevancy")(input_ids=zoo.ids(1), pixel_values=zoo.pictures(1, (32, 32)))

    def test_attention_in_windows(self, zoo):
        sizes = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4, "img_size": 64}
        model = zoo.build(timm.create_model, "swin_tiny_patch4_window7_224", num_classes=4, **sizes)
        with pytest.raises(InputError, match=r"method 'relevancy' needs .*windows.*'layercam'"):
            MMGrad(model, score=zoo.class_score(), method="relevancy")(zoo.pictures(1, (64, 64)))
