"""LeGrad against plain float64 towers of every family, and against torch-cam."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain import MMGrad
from mmgrad_explain import explain as explain_image
from mmgrad_explain.attention.methods.attention.legrad import LeGrad
from mmgrad_explain.composers.towers.composer import TwoTowerComposer
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small_models", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


def explain(case, method, **changes):
    return MMGrad(case.model, score=case.score, method=method)(**{**case.inputs, **changes})


@pytest.mark.parametrize("name", small.CASES)
def test_it_is_the_papers_formula_on_every_family(name, same_maps, zoo):
    case = small.CASES[name]()
    with zoo.leaves_alone(case.model):
        explanation = explain(case, LeGrad(blocks=2))
    same_maps(explanation.maps, case.legrad(2))
    torch.testing.assert_close(explanation.score.double(), case.exact_score.detach(), rtol=1e-4, atol=1e-5)


def test_two_blocks_written_by_hand(same_maps, zoo):
    case = small.hand_written(zoo.build(zoo.ViT, depth=2, size=(16, 16)), zoo.pictures(size=(16, 16)))
    for blocks in (1, 2):
        same_maps(explain(case, LeGrad(blocks=blocks)).maps, case.legrad(blocks))


def test_none_takes_every_block_and_the_default_the_last_two(same_maps):
    case = small.clip()
    same_maps(explain(case, LeGrad(blocks=None)).maps, case.legrad(3))
    same_maps(explain(case, "legrad").maps, case.legrad(2))


def test_a_batch_equals_its_samples(same_maps):
    case = small.blip()
    both = explain(case, "legrad").maps
    for index in range(2):
        alone = explain(case, "legrad", **{name: value[index : index + 1] for name, value in case.inputs.items()})
        same_maps(alone.maps, both[index : index + 1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype, same_maps):
    case = small.clip()
    case.model.to(dtype)
    maps = explain(case, "legrad", pixel_values=case.inputs["pixel_values"].to(dtype)).maps
    assert maps.dtype == torch.float32
    same_maps(maps, case.legrad(2), share=0.1)


def test_it_is_torch_cams():
    from torchcam.methods import LeGrad as Peer
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    model = small.lively(VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5))
    images = small.images()
    with Peer(model, list(model.encoder.layers)[-2:]) as extractor:
        scores = model(images)
        theirs = extractor([1, 1], scores, normalized=False)[0] * 2  # a mean over blocks
    ours = MMGrad(model, score=lambda output: output[:, 1], method="legrad")(images).maps
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["CLIP, sdpa", "SigLIP", "BLIP", "timm, registers"])
def test_maps_of_a_training_step_can_be_differentiated(name, same_maps):
    case = small.CASES[name]()
    step = small.Step(case, "legrad")
    same_maps(step.maps().detach(), case.legrad(2))
    torch.testing.assert_close(*step.slopes(), rtol=1e-5, atol=1e-9)


def test_another_score_than_that_of_the_step_is_refused():
    step = small.Step(small.timm_vit(), "legrad")
    with step.mmgrad.capture() as seen:
        output = step.model(step.images)
    with pytest.raises(InputError, match="not the score that attend"):
        step.mmgrad.attend(output[:, 3], seen)


def test_a_step_in_training_mode_leaves_the_model_alone(zoo):
    case = small.timm_vit()
    step = small.Step(case, "legrad")
    step.model.train()
    with zoo.leaves_alone(step.model):
        expected = step.maps()
    torch.testing.assert_close(expected.float(), case.legrad(2).float(), rtol=1e-3, atol=1e-5)


class Pair(torch.nn.Module):
    """Two images through one tower, one after the other or in one batch."""

    def __init__(self, tower, together):
        super().__init__()
        self.tower, self.together = tower, together

    def forward(self, pixel_values, target_pixel_values):
        images = pixel_values, target_pixel_values
        if self.together:
            return sum(self.tower(torch.cat(images)).chunk(2))
        return sum(map(self.tower, images))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("method", ["legrad", "grad-eclip"])
def test_each_of_two_images_has_its_own_map(method, together, same_maps, zoo):
    tower = zoo.build(zoo.ViT, depth=2, size=(16, 16))
    images = [zoo.pictures(size=(16, 16), seed=seed) for seed in (1, 2)]
    cases = [small.hand_written(tower, image) for image in images]
    found = MMGrad(Pair(tower, together), score=zoo.class_score(), method=method)(*images)
    assert found.image_of_calls == (0, 1)
    for maps, case in zip(found.calls, cases, strict=True):
        same_maps(maps, case.legrad(2) if method == "legrad" else case.grad_eclip(1).relu())


def test_only_the_wanted_blocks_are_recorded():
    recorded = []

    class Spy(LeGrad):
        def maps(self, run):
            recorded.extend(call.block for call in run.attention)
            return super().maps(run)

    explain(small.clip(), Spy())
    assert recorded == ["vision_model.encoder.layers.1", "vision_model.encoder.layers.2"]


class Bag(torch.nn.Module):
    """The smallest text tower: a sum of vectors."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(3, 5)

    def forward(self, input_ids, attention_mask):
        return (self.words(input_ids) * attention_mask[..., None]).sum(1)


def test_a_composer_of_a_timm_tower_with_registers(picture, same_maps):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "red": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    vision = small.timm_vit().model
    vision.reset_classifier(0)
    torch.manual_seed(0)
    composer = TwoTowerComposer.from_timm(
        vision,
        Bag(),
        tokenizer=tokenizer,
        text_projection=torch.randn(8, 5),
        embed_dim=8,
        data={"input_size": (3, 32, 32)},
    )
    found = explain_image(picture, "red", model=composer, method="legrad")
    exact = small.plain.exactly(composer)
    tower = small.plain.of_timm(exact.vision)
    steps = tower.run(composer.processor.encode_images([picture])[0].double())
    text = exact.text_projection @ exact.text.words.weight[1]

    def score(tokens):
        return small.plain.cosine(exact.vision.norm(tokens.mean(1)) @ exact.image_projection.T, text)

    same_maps(found.maps, small.plain.grid(small.plain.legrad(steps, score, 2, 3)))


def test_models_without_attention_probabilities_are_refused_with_a_way_out(zoo):
    with pytest.raises(InputError, match=r"convolutional network.*layercam"):
        MMGrad(zoo.build(zoo.CNN), score=zoo.class_score(), method="legrad")(zoo.pictures())


def test_windows_are_refused_with_a_way_out():
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 4, "window_size": 2, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2)}
    model = small.lively(SwinTransformer(**sizes, num_classes=5))
    with pytest.raises(InputError, match=r"windows.*layercam"):
        MMGrad(model, score=lambda output: output[:, 1], method="legrad")(small.images())


def test_named_layers_are_refused_because_the_method_takes_blocks():
    with pytest.raises(InputError, match="leave target_layers out"):
        MMGrad(small.clip().model, "vision_model.encoder.layers.1", method="legrad")(**small.clip().inputs)


def test_more_blocks_than_there_are_are_all_and_fewer_than_one_are_refused(same_maps):
    case = small.timm_vit()
    same_maps(explain(case, LeGrad(blocks=9)).maps, case.legrad(3))
    with pytest.raises(InputError, match="blocks"):
        LeGrad(blocks=0)


@pytest.mark.parametrize("blocks", [1.0, "two", True])
def test_blocks_is_a_whole_number(blocks):
    with pytest.raises(TypeError, match="blocks"):
        LeGrad(blocks=blocks)
