"""Methods of composed image retrieval are trained: by the grounding loss in a plain loop, and by the trainer."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from mmgrad_explain.attention import MMGrad, attend_prepared, prepare_maps
from mmgrad_explain.cli.main import main
from mmgrad_explain.composers.embedding import embed_images
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.fusion.methods import MethodImages
from mmgrad_explain.composers.fusion.processor import FusionProcessor
from mmgrad_explain.composers.fusion.registry import METHODS
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.model_capabilities import check_trainable
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import MapKind, unit_embeddings
from mmgrad_explain.grounding import AttentionGroundingLoss, dice_loss
from mmgrad_explain.training.config_file import config_from
from mmgrad_explain.training.held_out_figures import evaluate_batches, inputs_of
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import GroundingOptions, ObjectiveOptions
from mmgrad_explain.training.run import train
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions

WORDS = ["<pad>", "<start>", "make", "remove", "the", "it", "red", "left", "right", "a", "photo", "of", "that", "<end>"]
OPTIONS = {"cross-attention": {"heads": 2}, "qformer": {"heads": 2, "queries": 4}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random CLIP of two layers with a word tokenizer."""
    made = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 13)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(made)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(made)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 13, "pad_token_id": 0}
    text = {**small, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 40}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16)
    )
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.normal_(0, value[0].numel() ** -0.5)
    model.save_pretrained(made)
    return made


def data():
    """Four pictures with a bright square on the left and one on the right, and texts that speak of either."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(110, 140, (4, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((8, 32, 32), np.float32)
    for index, top in enumerate((0, 8, 16, 24)):
        pictures[index, top : top + 8, 0:8] = (220, 20, 20)
        pictures[index, top : top + 8, 24:32] = (20, 20, 220)
        masks[index, top : top + 8, 0:8] = masks[index + 4, top : top + 8, 24:32] = 1
    return np.concatenate([pictures, pictures]), ["make the left red"] * 4 + ["remove the right"] * 4, masks


@pytest.mark.parametrize("method", sorted(METHODS))
def test_some_steps_lower_the_grounding_loss(method, folder):
    torch.manual_seed(1)
    composer = FusionComposer.from_tower(folder, method, width=32, **OPTIONS.get(method, {})).train()
    pictures, texts, masks = data()
    pixels, (ids, mask) = composer.processor.normalise(pictures), composer.processor.encode_texts(texts)
    mmgrad, loss_of = MMGrad(composer), AttentionGroundingLoss()
    optimizer = torch.optim.Adam(composer.parameters(), 3e-4)
    losses, reached = [], set()
    for _ in range(12):
        with mmgrad.capture() as seen:
            output = composer(pixels, ids, mask)
        score = (output.shift * output.shift.detach()).sum(-1)
        maps = mmgrad.attend(score, seen, create_graph=True, relu=False)
        loss = loss_of(maps, torch.from_numpy(masks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        reached |= {name for name, one in composer.named_parameters() if one.grad is not None and one.grad.any()}
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    assert reached >= {"tower.model.vision_model.embeddings.patch_embedding.weight"}  # before the layer
    assert {name for name, one in composer.fusion.named_parameters() if one.ndim > 1} <= {
        name.removeprefix("fusion.") for name in reached
    }


def test_pictures_as_arrays_are_prepared_as_files_are(folder):
    """What the trainer gives, squares of the tower's own size, become what the tower's processor makes of them."""
    composer = FusionComposer.from_tower(folder, "tirg", width=8)
    check_trainable(composer)
    assert composer.processor.image_size == 32
    pictures, _, _ = data()
    from PIL import Image

    expected, _ = composer.processor.encode_images([Image.fromarray(one) for one in pictures])
    torch.testing.assert_close(composer.processor.normalise(pictures), expected, atol=1e-5, rtol=1e-5)
    own = composer.processor.inner
    own.image_processor.do_center_crop = False  # pictures keep their shape then
    odd = FusionProcessor(own)
    with pytest.raises(AttributeError, match="images of this model have no one size"):
        _ = odd.image_size


@pytest.mark.parametrize("method", ["film", "inversion"])
def test_the_trainer_trains_it(method, folder, tmp_path, picture_file, capsys):
    """A whole run from a saved composer: the tower held, the method trained, and the command line on what is left."""
    start = FusionComposer.from_tower(folder, method, width=16)
    start.save_pretrained(tmp_path / "start")
    config = config_from(
        {
            "steps": 2, "workers": 0, "log_every": 1, "save_every": 2, "tensorboard": False, "precision": "float32",
            "device": "cpu", "model": {"path": str(tmp_path / "start"), "freeze": ["tower"]},
            "sources": {"scenes": {"pictures": 2, "edits": 2}}, "optimizer": {"warmup": 1, "lr": 0.01},
            "grounding": {"warm_start": 0.0}, "evaluation": {"every": 2, "batches": 1, "maps": 0},
        }
    )  # fmt: skip
    train(config, tmp_path / "run")
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first.keys() >= {"retrieval", "dice"}
    trained = load_composer(tmp_path / "run" / "model")
    before, after = start.state_dict(), trained.state_dict()
    assert {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"fusion"}
    command = ["overlay", str(picture_file), "make it red", "--model", str(tmp_path / "run" / "model"), "--json"]
    assert main([*command, "--out", str(tmp_path / "where.png")]) == 0
    assert json.loads(capsys.readouterr().out)[0]["score_name"] == "shift"


def test_retrieval_goes_by_what_a_gallery_holds(folder):
    """A few steps of InfoNCE against ``target``, as the gallery is embedded, lower its loss as well."""
    torch.manual_seed(0)
    composer = FusionComposer.from_tower(folder, "qformer", width=16, heads=2, queries=4).train()
    pictures, texts, _ = data()
    pixels, (ids, mask) = composer.processor.normalise(pictures), composer.processor.encode_texts(texts)
    optimizer = torch.optim.Adam(composer.parameters(), 3e-3)
    losses = []
    for _ in range(6):
        output = composer(pixels[:4], ids[:4], mask[:4], pixels[:4].flip(3))
        similar = F.normalize(output.embedding, dim=-1) @ F.normalize(output.target, dim=-1).T
        loss = F.cross_entropy(10 * similar, torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_references_are_judged_and_trained_as_a_gallery_holds_them(method, folder):
    torch.manual_seed(0)
    composer = FusionComposer.from_tower(folder, method, **OPTIONS.get(method, {}))
    source = SceneSource(32, SceneSourceOptions(pictures=2, edits=2))
    pictures = source.batch(3, 0)
    batch = encode_batch(pictures, composer.processor)
    held = embed_images(composer, [Image.fromarray(one) for one in (*pictures.targets, *pictures.references)])
    with torch.no_grad():
        output = composer(**inputs_of(batch))
    query, targets, references = unit_embeddings(output)
    torch.testing.assert_close(targets, held[:4], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(references, held[4:].repeat_interleave(2, 0), rtol=1e-3, atol=1e-4)

    similar, truth = query @ held.T, torch.arange(4)
    found = evaluate_batches(composer, [batch], MapKind("shift", "gradcam"))
    assert found["r1"] == pytest.approx(float((similar.argmax(1) == truth).float().mean()))
    made = objective_of(composer.eval(), weight=0.0).eval()
    expected = F.cross_entropy(similar * made.temperature(), truth)
    torch.testing.assert_close(made(batch, np.random.default_rng(0)).retrieval, expected, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------------------------------------- two towers alone


def objective_of(composer, *, checkpointing=False, **grounding):
    options = ObjectiveOptions(GroundingOptions(**grounding), precision="float32", gradient_checkpointing=checkpointing)
    return GroundedObjective(composer.train(), options)


def losses_of(objective):
    source = SceneSource(32, SceneSourceOptions(pictures=2, edits=2))
    batch = encode_batch(source.batch(3, 0), objective.composer.processor)
    return objective(batch, np.random.default_rng(0))


def test_two_towers_are_trained_directly(folder):
    """The query is ``i + t``, the gallery ``i``, and the maps are Grad-CAM of the cosine."""
    composer = load_composer(folder)
    objective = objective_of(composer, score="image-text", form="bce", weightings=("gradcam",))
    losses = losses_of(objective)
    losses.total.backward()
    assert losses.figures["bce"] > 0
    assert all(
        composer.get_parameter(f"model.{name}").grad.any()
        for name in ("vision_model.embeddings.patch_embedding.weight", "text_projection.weight", "logit_scale")
    )


def test_the_shift_of_two_towers_has_no_maps(folder):
    message = r"grounding.score: what the text adds in .* is the same for every image, so that 'shift' has no maps: set"
    with pytest.raises(InputError, match=message + " it to 'image-text', or put a method on the two towers"):
        objective_of(load_composer(folder))
    assert losses_of(objective_of(load_composer(folder), weight=0)).grounding == 0


def test_pictures_of_no_one_size_are_not_trained_on(folder, tmp_path):
    composer = load_composer(folder)
    composer.processor.image_processor.do_center_crop = False
    FusionComposer.from_tower(composer, "combiner", width=16).save_pretrained(tmp_path / "start")
    config = config_from({"device": "cpu", "model": {"path": str(tmp_path / "start")}, "sources": {"scenes": {}}})
    message = r"FusionComposer cannot be trained: it has no processor.image_size \(one square for all images\);"
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "run")


# ------------------------------------------------------------------------------------------------------- checkpointing


@pytest.mark.parametrize("kind", ["film", "inversion", "alone"])
def test_activations_computed_anew_change_nothing(kind, folder):
    """Losses and gradients, of maps too, whose layer is inside a block that is run again."""
    composer, score = load_composer(folder), "image-text"
    if kind != "alone":
        options = {"dropout": 0.0} if kind == "inversion" else {}
        composer, score = FusionComposer.from_tower(composer, kind, width=16, **options), "shift"
    layer = composer.get_submodule(composer.target_layer)
    runs = []
    handle = layer.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    totals, gradients, counts = [], [], []
    for checkpointing in (False, True):
        runs.clear()
        composer.zero_grad()
        losses = losses_of(objective_of(composer, checkpointing=checkpointing, score=score))
        losses.total.backward()
        totals.append(losses.total.item())
        gradients.append({name: one.grad.clone() for name, one in composer.named_parameters() if one.grad is not None})
        counts.append(len(runs))
    handle.remove()
    assert counts[1] > counts[0]  # it was run again
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5)


def test_checkpointing_that_is_not_to_be_had_is_said(folder):
    composer = FusionComposer.from_tower(folder, "film", width=16)
    composer.tower.requires_grad_(False)
    with pytest.raises(
        InputError,
        match=r"model.gradient_checkpointing: tower.model.vision_model is frozen and keeps little: set it to false",
    ):
        objective_of(composer, checkpointing=True)
    composer.requires_grad_(True)
    composer.target_layer = "fusion.enter"
    with pytest.raises(
        InputError,
        match=r"model.gradient_checkpointing: FusionComposer has no gradient_checkpointing_enable, and its explained "
        "layer is in no model of transformers that has one: set it to false",
    ):
        objective_of(composer, checkpointing=True)


def test_checkpointing_puts_no_hooks_into_the_model(folder):
    """transformers would have embeddings require gradients, which only reentrant checkpointing needs."""
    composer = load_composer(folder)
    composer.model.main_input_name = "input_ids"  # as BLIP's
    objective_of(composer, checkpointing=True, score="image-text")
    assert not any(module._forward_hooks for module in composer.modules())


@pytest.mark.parametrize("method", ["combiner", "tirg"])
def test_maps_of_cached_embeddings_train_the_method_as_those_of_the_whole_forward_do(composer, inputs):
    """The tower is frozen: an embedding and a matrix an image replace it."""
    composer.eval().tower.requires_grad_(False)
    trained = list(composer.fusion.parameters())
    mmgrad = MMGrad(composer, method="gradcam")
    pixels, ids, mask = (inputs[name] for name in ("pixel_values", "input_ids", "attention_mask"))
    with mmgrad.capture() as seen:
        shift = composer(pixels, ids, mask).shift
    expected = mmgrad.attend(shift.square().sum(-1), seen, create_graph=True, relu=False)
    prepared = prepare_maps(mmgrad, pixels, lambda pixels: composer.encode_image(pixels).pooled)
    image = prepared.embeddings.requires_grad_()
    shift = composer.compose(MethodImages(image), composer.encode_text(ids, mask)).shift
    made = attend_prepared(shift.square().sum(-1), image, prepared.operators, create_graph=True, relu=False)
    theirs, ours = (
        torch.autograd.grad(dice_loss(maps, torch.eye(maps.shape[1]).expand_as(maps)).sum(), trained, allow_unused=True)
        for maps in (expected, made)
    )
    for one, other in zip([made.detach(), *ours], [expected.detach(), *theirs], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
