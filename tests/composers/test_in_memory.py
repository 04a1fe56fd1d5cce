"""Models in memory, wrapped as people have them: maps as from a folder, and the model is left alone."""

import copy

import open_clip
import pytest
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import nn
from torchvision import transforms

from mmgrad_explain import Gallery, InputError, explain, load_composer
from mmgrad_explain.api import phrase_maps
from mmgrad_explain.attention import MMGrad
from mmgrad_explain.composers.stand_ins.models import write_model_folder

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty

TEXTS = ["make it red", "a blue square"]
CLASSES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "blip": "BlipForImageTextRetrieval",
    "llava": "LlavaForConditionalGeneration",
}
LORA = {"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / kind
            write_model_folder(kind, made[kind])
        return made[kind]

    return get


@pytest.fixture
def clip(folders):
    """A model in training, half frozen, with its processor."""
    folder = folders("clip")
    model = transformers.CLIPModel.from_pretrained(folder).train()
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)
    return model, processor_of(folder)


def processor_of(folder):
    """Image processor and tokenizer, as from_pretrained gives them."""
    load = transformers.AutoImageProcessor, transformers.AutoTokenizer
    return tuple(one.from_pretrained(folder) for one in load)


def settings(model, processor):
    """What must not change, of all parts."""
    weights = {name: (one.dtype, one.device, one.requires_grad) for name, one in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    words = processor[1]
    return weights, modes, attention, words.padding_side, words.truncation_side, words.backend_tokenizer.to_str()


@pytest.mark.parametrize("kind", CLASSES)
def test_as_from_its_folder(kind, folders, picture, shared):
    folder = folders(kind)
    model = getattr(transformers, CLASSES[kind]).from_pretrained(folder).train()
    processor = transformers.AutoProcessor.from_pretrained(folder) if kind == "llava" else processor_of(folder)[::-1]
    words = processor.tokenizer if kind == "llava" else processor[0]
    words.padding_side = "left"
    options = {"answer": "red"} if kind == "llava" else {"words": True}
    explain(picture, TEXTS[0], model=model, processor=processor, **options)  # transformers puts hooks of its own
    before = settings(model, (None, words))
    with shared.left_alone(model):
        found = explain([picture] * 2, TEXTS, model=model, processor=processor, **options)
    assert settings(model, (None, words)) == before
    expected = explain([picture] * 2, TEXTS, model=folder, **options)
    assert (found.layer_names, found.model, found.score_name) == (expected.layer_names, kind, expected.score_name)
    torch.testing.assert_close(found.maps, expected.maps)
    torch.testing.assert_close(found.score, expected.score)
    assert found.words == expected.words


def test_the_whole_processor_and_more_questions(clip, folders, picture):
    model, (images, words) = clip
    whole = transformers.CLIPProcessor(images, words)
    expected = load_composer(folders("clip"))
    found = explain(picture, TEXTS, model=model, processor=whole)
    torch.testing.assert_close(found.maps, explain(picture, TEXTS, model=expected).maps)
    sentence = "the red shirt and the blue hat"
    phrases = phrase_maps(picture, sentence, model=model, processor=whole)
    torch.testing.assert_close(phrases.explanation.maps, phrase_maps(picture, sentence, expected).explanation.maps)
    composer = load_composer(model, whole)
    assert composer.model is model
    inputs = composer.preprocess([picture], TEXTS[:1])
    torch.testing.assert_close(MMGrad(composer)(**inputs.tensors).maps[0], found.maps[0])
    torch.testing.assert_close(explain(picture, TEXTS[0], model=composer).maps, found.maps[:1])
    assert load_composer(composer) is composer


def test_half_precision_and_what_is_trained_meanwhile(clip, picture):
    model, processor = clip
    composer = load_composer(model, processor)
    first = explain(picture, TEXTS[0], model=composer).score
    half = copy.deepcopy(model).bfloat16()
    found = explain(picture, TEXTS[0], model=half, processor=processor)
    torch.testing.assert_close(found.score, first, atol=0.02, rtol=0)
    assert {one.dtype for one in half.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        model.visual_projection.weight.neg_()
    torch.testing.assert_close(explain(picture, TEXTS[0], model=composer).score, -first)


def test_a_gallery_of_a_model_in_memory(clip, folders, picture, tmp_path):
    model, processor = clip
    (tmp_path / "photos").mkdir()
    for angle in (0, 90, 180):
        picture.rotate(angle).save(tmp_path / "photos" / f"{angle}.png")
    with Gallery(tmp_path / "mine.db", model, processor=processor, create=True) as gallery:
        gallery.index([tmp_path / "photos"])
        found = gallery.retrieve(picture, TEXTS[0], k=3)
        assert len(gallery.explain(found).hits) == 3
        assert gallery.about["source"] is None
    assert model.training
    with Gallery(tmp_path / "mine.db", folders("clip")) as gallery:  # the same model, by its weights
        assert [hit.path for hit in gallery.retrieve(picture, TEXTS[0], k=3).hits] == [hit.path for hit in found.hits]


def adapted(model):
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(**LORA))


def by_hand(model, processor, picture, text):
    """Grad-CAM of the cosine, written out on the model's own forward."""
    model.eval()
    words = processor[1]([text], return_tensors="pt")
    pixels = processor[0](images=[picture], return_tensors="pt")["pixel_values"]
    layer = next(m for n, m in model.named_modules() if "vision" in n and n.endswith("layers.3.layer_norm1"))
    kept = []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    output = model(input_ids=words["input_ids"], pixel_values=pixels, attention_mask=words["attention_mask"])
    handle.remove()
    score = (output.image_embeds * output.text_embeds).sum()
    (gradient,) = torch.autograd.grad(score, kept[0])
    grids = [one[:, 1:].transpose(1, 2).unflatten(2, (7, 7)) for one in (kept[0], gradient)]
    return (grids[1].mean((2, 3), keepdim=True) * grids[0]).sum(1).detach()


def compiled(model):
    return torch.compile(model, backend="eager")


def in_the_tower(wrap):
    def wrapped(model):
        model.vision_model = wrap(model.vision_model)
        return model

    return wrapped


# What adapts a model, and what then wraps it without any effect.
WRAPPERS = {
    "LoRA": (adapted, lambda model: model),
    "compiled": (lambda model: model, compiled),
    "replicas": (lambda model: model, nn.DataParallel),
    "compiled LoRA": (adapted, compiled),
    "compiled tower": (lambda model: model, in_the_tower(compiled)),
    "LoRA in the tower": (in_the_tower(adapted), lambda model: model),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped(wrapper, folders, picture, shared):
    processor = processor_of(folders("clip"))
    plain = transformers.CLIPModel.from_pretrained(folders("clip"))
    adapt, wrap = WRAPPERS[wrapper]
    model = adapt(copy.deepcopy(plain))
    expected = by_hand(model, processor, picture, TEXTS[0])
    model = wrap(model).train()
    with shared.left_alone(model):
        found = explain(picture, TEXTS[0], model=model, processor=processor, method="gradcam")
    assert found.layer_names[0].endswith("layers.3.layer_norm1")
    shared.same_map(found.signed[found.layer_names[0]][0], expected)
    if "LoRA" in wrapper:
        without = explain(picture, TEXTS[0], model=plain, processor=processor, method="gradcam")
        assert (without.score - found.score).abs() > 1e-3


def test_distributed(folders, picture, tmp_path):
    processor = processor_of(folders("clip"))
    model = transformers.CLIPModel.from_pretrained(folders("clip"))
    expected = explain(picture, TEXTS[0], model=model, processor=processor)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        found = explain(picture, TEXTS[0], model=wrapped, processor=processor)
    finally:
        torch.distributed.destroy_process_group()
    assert found.maps.equal(expected.maps)


def test_a_composer_in_a_wrapper(tiny, picture):
    expected = explain(picture, TEXTS[0], model=tiny)
    found = explain(picture, TEXTS[0], model=nn.DataParallel(tiny))
    assert found.maps.equal(expected.maps)
    with pytest.raises(InputError, match=r"processor: the composer 'tiny\d*' has its own: leave it out"):
        explain(picture, TEXTS[0], model=tiny, processor=object())


def test_our_own_model_of_transformers(tiny_folder, picture):
    from mmgrad_explain.composers.reference.transformers_model import ReferenceModel, ReferenceProcessor

    model = ReferenceModel.from_pretrained(tiny_folder)
    found = explain(picture, TEXTS[0], model=model, processor=ReferenceProcessor.from_pretrained(tiny_folder))
    shown = explain(picture, TEXTS[0], model=tiny_folder)
    torch.testing.assert_close(found.maps, shown.maps, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="processor: give the model's own"):
        explain(picture, TEXTS[0], model=model)


def test_what_is_missing_is_said(clip, folders, picture):
    model, (images, words) = clip
    with pytest.raises(InputError, match=r"processor: a CLIPModel in memory does not say .* give processor=Auto"):
        explain(picture, TEXTS[0], model=model)
    with pytest.raises(InputError, match="processor: the tokenizer of the CLIPModel is missing"):
        explain(picture, TEXTS[0], model=model, processor=images)
    with pytest.raises(InputError, match="processor: the image processor of the CLIPModel is missing"):
        explain(picture, TEXTS[0], model=model, processor=words)
    with pytest.raises(TypeError, match="processor must be what transformers has for a CLIPModel, got str"):
        explain(picture, TEXTS[0], model=model, processor="clip")
    with pytest.raises(TypeError, match=r"model must be a bundled name, .* got dict"):
        explain(picture, TEXTS[0], model={})
    with pytest.raises(InputError, match="processor: 'reference' is loaded with its own: leave it out"):
        explain(picture, TEXTS[0], model="reference", processor=images)
    with pytest.raises(InputError, match=r"which is neither .*: derive it from Composer .*GradAttention\(model"):
        explain(picture, TEXTS[0], model=nn.Linear(2, 2))
    with pytest.raises(InputError, match="is a 'clip_vision_model' model, a vision tower without its text tower"):
        explain(picture, TEXTS[0], model=transformers.CLIPVisionModel(model.config.vision_config))
    headed = transformers.CLIPForImageClassification(model.config)
    with pytest.raises(InputError, match="model is a CLIPForImageClassification: of CLIP, a CLIPModel can be"):
        explain(picture, TEXTS[0], model=headed, processor=clip[1])
    llava = transformers.LlavaForConditionalGeneration.from_pretrained(folders("llava"))
    with pytest.raises(InputError, match="processor: a LlavaForConditionalGeneration needs its whole processor"):
        explain(picture, TEXTS[0], model=llava, processor=processor_of(folders("llava")))


def test_adapters_around_the_model_are_refused(clip, picture):
    model, processor = clip
    wrapped = adapted(copy.deepcopy(model))
    wrapped.peft_config["default"].alora_invocation_tokens = [1]
    with pytest.raises(InputError, match="model: PEFT's LORA adds to what goes into the model"):
        explain(picture, TEXTS[0], model=wrapped, processor=processor)


def test_a_part_of_a_larger_model(tmp_path, picture, write_clipseg):
    write_clipseg(tmp_path)
    model = transformers.CLIPSegForImageSegmentation.from_pretrained(tmp_path)
    found = explain(picture, "red", model=model, processor=transformers.AutoProcessor.from_pretrained(tmp_path))
    torch.testing.assert_close(found.maps, explain(picture, "red", model=tmp_path).maps)


# ----------------------------------------------------------------------------------------------------------- open_clip

VISIONS = {
    "ViT": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "timm": {"timm_model_name": "test_vit", "timm_model_pretrained": False, "image_size": 160, "timm_pool": ""},
}


def open_clip_model(kind="ViT"):
    torch.manual_seed(0)
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CLIP(embed_dim=16, vision_cfg=VISIONS[kind], text_cfg=text), open_clip.SimpleTokenizer(
        context_length=12
    )


@pytest.mark.parametrize("kind", VISIONS)
def test_open_clip(kind, picture, shared, tmp_path):
    from open_clip.push_to_hf_hub import save_for_hf

    model, words = open_clip_model(kind)
    preprocess = image_transform_v2(PreprocessCfg(size=model.visual.image_size), is_train=False)
    model.train()
    with shared.left_alone(model):
        found = explain([picture] * 2, TEXTS, model=model, processor=(preprocess, words), words=True)
    assert found.maps.equal(explain([picture] * 2, TEXTS, model=model, processor=[words, preprocess]).maps)
    half = copy.deepcopy(model).bfloat16()
    torch.testing.assert_close(
        explain(picture, TEXTS[0], model=half, processor=(words, preprocess)).score, found.score[:1], atol=0.05, rtol=0
    )
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    model.visual.image_mean, model.visual.image_std = PreprocessCfg().mean, PreprocessCfg().std
    model.visual.preprocess_cfg = {}
    save_for_hf(model, _NoTokenizer(), {"embed_dim": 16, "vision_cfg": VISIONS[kind], "text_cfg": text}, tmp_path)
    expected = explain([picture] * 2, TEXTS, model=tmp_path, words=True)
    torch.testing.assert_close(found.maps, expected.maps)
    assert found.layer_names == expected.layer_names
    assert found.words == expected.words


class _NoTokenizer:
    def save_pretrained(self, folder):
        pass


def test_what_open_clip_needs(picture):
    model, words = open_clip_model()
    evaluation, training = (
        image_transform_v2(PreprocessCfg(size=32), is_train=one, aug_cfg=None) for one in (False, True)
    )
    for given, match in (
        (None, "both are missing"),
        (evaluation, "the tokenizer is missing"),
        (words, "the transform is missing"),
        ((words, evaluation, training), "got 3 things"),
        ((training, words), "the transform has RandomResizedCrop, and where it puts an image cannot be undone"),
        ((transforms.ToTensor(), words), "gives images of no one size"),
        ((evaluation, open_clip.SimpleTokenizer()), "gives 77 tokens, the model takes 12: take the model's own"),
        ((image_transform_v2(PreprocessCfg(size=64), is_train=False), words), r"64 x 64 .*the model takes 32 x 32"),
    ):
        with pytest.raises(InputError, match=match):
            explain(picture, TEXTS[0], model=model, processor=given)
