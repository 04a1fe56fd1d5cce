"""Config files: every key, every value, and the documentation of both."""

from dataclasses import fields

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.config import TrainingConfig
from mmgrad_explain.training.config_file import config_from, config_names, config_values, dump_config, load_config
from mmgrad_explain.training.sources.photo_options import PhotoOptions


def test_the_configs_of_the_package():
    assert config_names() == (
        "cirr", "cirr-blip2", "cirr-frozen", "clip", "clothing", "clothing-large", "everyday", "fashioniq",
        "fashioniq-frozen", "reference", "reference-no-grounding", "shoes", "shoes-frozen", "tiny",
    )  # fmt: skip
    for name in config_names():
        config = load_config(name)
        assert config_from(config_values(config)) == config
    with_loss, without = load_config("reference"), load_config("reference-no-grounding")
    same = [f.name for f in fields(with_loss) if getattr(with_loss, f.name) == getattr(without, f.name)]
    assert {f.name for f in fields(with_loss)} - set(same) == {"grounding"}
    assert without.grounding.weight == without.grounding.pooling == 0


def test_a_file_extends_another(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: tiny\nsteps: 7\noptimizer: {lr: 1e-4}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nseed: 3\nsources: {scenes: {edits: 2}}\n")
    config = load_config(tmp_path / "mine.yaml", ["sources.scenes.pictures=5", "model.freeze=[network.text]"])
    assert (config.steps, config.seed, config.optimizer.lr, config.optimizer.warmup) == (7, 3, 1e-4, 20)
    assert (config.sources["scenes"].edits, config.sources["scenes"].pictures) == (2, 5)
    assert config.model.freeze == ("network.text",)


def test_a_dumped_config_is_read_again(tmp_path):
    path = tmp_path / "config.yaml"
    changes = [
        "sources.street.kind=photos",
        "sources.street.folder=x",
        "sources.street.zoom=[0.5, 1]",
        "sources.scenes=",
    ]
    config = load_config("tiny", changes)
    assert isinstance(config.sources["street"], PhotoOptions)
    assert list(config.sources) == ["street"]
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_another_trunk_does_not_take_over_options(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: tiny\nmodel: {sizes: {backbone: resnet18, taps: [0, 2]}}\n")
    assert "backbone_options" not in load_config(tmp_path / "mine.yaml").model.sizes
    changes = ["model.sizes.backbone_options.pad_type=same", "model.sizes.backbone=mobilenetv2_035"]
    sizes = load_config(tmp_path / "mine.yaml", changes).model.sizes
    assert sizes["backbone_options"] == {"pad_type": "same"}
    assert "taps" not in sizes
    kept = load_config(tmp_path / "mine.yaml", ["model.sizes.backbone=resnet18", "steps=3"]).model.sizes
    assert kept["taps"] == [0, 2]
    deeper = load_config("tiny", ["model.sizes.backbone_options.groups=8"]).model.sizes["backbone_options"]
    assert (deeper["groups"], deeper["stem_width"]) == (8, 16)


def test_a_run_from_a_model_takes_over_nothing_of_a_new_network(tmp_path):
    """Options of a new network that come beside the path are an error, as ever."""
    (tmp_path / "c.yaml").write_text("extends: clothing\nmodel: {path: mine, freeze: [network.neck]}\n")
    for config in (load_config(tmp_path / "c.yaml"), load_config("clothing-large", ["model.path=mine"])):
        assert (config.model.path, config.model.sizes, config.model.backbone_weights) == ("mine", {}, None)
    assert load_config(tmp_path / "c.yaml").model.freeze == ("network.neck",)
    assert load_config("clothing", ["model.path=null"]).model.sizes == load_config("clothing").model.sizes
    for changes in (["model.sizes.heads=2", "model.path=mine"], ["model.path=mine", "model.sizes.heads=2"]):
        with pytest.raises(InputError, match="are for a new network"):
            load_config("clothing", changes)


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert load_config(tmp_path / "c.yaml") == TrainingConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stepz=3"], "unknown key 'stepz': did you mean 'steps'? known: seed, steps"),
        (["grounding.wieght=1"], "unknown key 'grounding.wieght': did you mean 'weight'?"),
        (["steps=many"], "steps must be a whole number, not 'many'"),
        (["steps=0"], "steps must be at least 1, got 0"),
        (["seed=1000003"], "seed and evaluation.seed must differ: held-out scenes must not be trained on"),
        (["seed=-1"], "seed must be at least 0, got -1"),
        (["workers=true"], "workers must be a whole number, not True"),
        (["ema=1"], "ema must be at least 0 and below 1, got 1.0"),
        (["ema=abc"], "ema must be a number, not 'abc'"),
        (["device=tpu"], "device must be 'auto' or 'cpu', not 'tpu'"),
        (["precision=fp16"], "precision must be one of bf16, bf16-composer, float32, not 'fp16'"),
        (["mix=epoch"], "mix must be 'step' (each step shows one source) or 'batch' (all of them), not 'epoch'"),
        (["tensorboard=maybe"], "tensorboard must be true or false, not 'maybe'"),
        (["model=3"], "model must hold keys and values, not 3"),
        (
            ["model.path=a", "model.sizes.heads=2"],
            "model.sizes, model.backbone_weights and model.segmenter_weights are for a new network",
        ),
        (["model.lora.rank=-1"], "lora: rank must be at least 0 and dropout in [0, 1), got -1, 0.0"),
        (["model.freeze=3"], "model.freeze must be a list, not 3"),
        (["model.sizes=3"], "model.sizes must hold keys and values, not 3"),
        (["sources=scenes"], "sources must be names with their options"),
        (
            ["sources.photo.folder=x"],
            "sources.photo: there is no kind 'photo': did you mean 'photos'? say kind: one of",
        ),
        (["sources.scenes=3"], "sources.scenes must hold keys and values, not 3"),
        (["sources.scenes.objects=[1]"], "sources.scenes.objects must be a list of 2, not [1]"),
        (["sources.scenes.objects=[1, a]"], "sources.scenes.objects[1] must be a whole number, not 'a'"),
        (["grounding.form=dise"], "form: there is no 'dise'; did you mean 'dice'?"),
        (["grounding.weightings=[]"], "grounding.weightings: name at least one"),
        (["grounding.weightings=[gradcm]"], "did you mean 'gradcam'?"),
        (["grounding.weight=-1"], "grounding.weight must be at least 0, got -1.0"),
        (["grounding.ramp=2"], "grounding.ramp is a share of the steps, 0 to 1, got 2.0"),
        (["grounding.share=0"], "grounding.share must be above 0 and at most 1, got 0.0"),
        (["grounding.pooling_heads=0"], "grounding.pooling_heads must be at least 1, got 0"),
        (["grounding.target_side.add=2"], "grounding.target_side.add must be between 0 and 1, got 2.0"),
        (
            ["grounding.target_side.recolor=0"],
            "there is no edit 'recolor': did you mean 'recolour'? use recolour, reshape",
        ),
        (["dense.weight=-1"], "dense.weight must be at least 0, got -1.0"),
        (["dense.first=1"], "dense.first is a share of the steps, at least 0 and below 1, got 1.0"),
        (["dense.weight=0", "dense.first=0.1"], "dense.first: there is nothing to train first while dense.weight is 0"),
        (["optimizer.lr=0"], "optimizer.lr must be above 0, got 0.0"),
        (["optimizer.warmup=-1"], "optimizer.warmup must be at least 0, got -1"),
        (["optimizer.betas=[0.9, 1]"], "optimizer.betas must be at least 0 and below 1, got [0.9, 1.0]"),
        (["evaluation.best=pointng"], "evaluation.best: there is no figure 'pointng': did you mean 'pointing'?"),
        (["evaluation.batches=0"], "evaluation: every and maps must be at least 0, batches at least 1"),
        (["evaluation.best=r1", "evaluation.every=0"], "evaluation.best needs evaluation.every above 0"),
        (["sources.x.kind=[a]"], "sources.x: there is no kind ['a']: say kind: one of"),
        (["steps=1" + "0" * 400], "steps must be a number below 1e+15, not a number of some 398 digits"),
        (["ema=.nan"], "ema must be a number below 1e+15, not nan"),
        (["steps"], "--set takes KEY=VALUE, for example grounding.weight=0, not 'steps'"),
        (["steps=[1"], "--set steps=[1: the value is no YAML"),
        (["steps.much=1"], "--set steps.much=1: 'steps' has a value and no keys"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        load_config("tiny", changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [1", "is no YAML"),
        ("- 1\n", "must hold keys and values, not a list"),
        ("!!python/object:os.system {}", "is no YAML"),
        ("extends: c.yaml\n", "it extends itself"),
        ("a: &a [*a]\nsteps: *a\n", "more than 10000000 characters with its aliases put in"),
        ("steps: " + "[" * 5000, "is no YAML: it is nested too deeply"),
        ("extends: [a]\n", "extends must be a name or a path, not ['a']"),
        (
            "extends: refrence\n",
            "no config 'refrence': did you mean 'reference'? give a YAML file or one of cirr",
        ),
    ],
)
def test_wrong_files(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c.yaml|refrence") as caught:
        load_config(tmp_path / "c.yaml")
    assert message in str(caught.value)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "c.yaml")
