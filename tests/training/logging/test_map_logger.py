"""Overlays and curves of a training run, in a Trainer and in your own loop."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.logging.boards import WeightsAndBiases
from mmgrad_explain.training.logging.map_logger import MapLogger, draw_sample

IMAGES = [np.full((24, 32, 3), shade, np.uint8) for shade in (90, 160)]
CAPTIONS = ["make it red", "remove the star"]
MASK = np.zeros((24, 32), bool)
MASK[4:14, 6:20] = True
HEAT = np.zeros((2, 6, 8), np.float32)
HEAT[0, 1:3, 2:4] = 5
HEAT[0, 5, 7] = -9


class Memory:
    """A board that keeps what it gets."""

    def __init__(self):
        self.figures, self.images = [], []

    def log_figures(self, figures, step):
        self.figures.append((step, dict(figures)))

    def log_images(self, images, step):
        self.images.append((step, dict(images)))


def state(step, first=True):
    return SimpleNamespace(global_step=step, is_world_process_zero=first)


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


# -------------------------------------------------------------------------------------------------- a loop of one's own


@pytest.mark.filterwarnings("error:Converting a tensor")
def test_a_loop_of_ones_own(tmp_path):
    point = torch.tensor(0.5, requires_grad=True)
    with MapLogger(tmp_path / "runs") as logger:
        for step in (10, 20):
            logger.log(
                step, maps=torch.from_numpy(HEAT), images=IMAGES, captions=CAPTIONS, masks=[MASK, None],
                figures={"pointing": point, "r1": 0.25, "loss": 2, "mine/x": 1, "pointing_add": 1.0},
            )  # fmt: skip
    found = read(tmp_path / "runs")
    assert sorted(found.Tags()["scalars"]) == [
        "grounding/pointing", "grounding/pointing_add", "mine/x", "retrieval/r1", "train/loss",
    ]  # fmt: skip
    assert [(p.step, p.value) for p in found.Scalars("grounding/pointing")] == [(10, 0.5), (20, 0.5)]
    assert sorted(found.Tags()["images"]) == ["maps/1", "maps/2"]
    first, second = found.Images("maps/1")
    assert (first.step, second.step) == (10, 20)
    picture = Image.open(io.BytesIO(first.encoded_image_string))
    assert picture.size == (first.width, first.height)
    assert picture.size == draw_sample(IMAGES[0], HEAT[0], CAPTIONS[0], MASK, 10).size
    assert picture.tobytes() == draw_sample(IMAGES[0], HEAT[0], CAPTIONS[0], MASK, 10).tobytes()


def test_figures_alone_and_images_alone():
    board = Memory()
    logger = MapLogger(board, images=IMAGES, captions=CAPTIONS, masks=[None, MASK])
    logger.log(1, figures={"iou": 0.5})
    logger.log(2, HEAT)
    logger.log(3)
    logger.close()  # a board need not have anything to close
    assert board.figures == [(1, {"grounding/iou": 0.5})]
    ((step, images),) = board.images
    assert step == 2
    assert [caption for _, caption in images.values()] == CAPTIONS


def test_every_board_gets_all():
    boards = Memory(), Memory()
    MapLogger(*boards).log(1, HEAT, images=IMAGES, figures={"iou": 0.5})
    assert boards[0].figures == boards[1].figures != []
    assert [images["maps/1"][1] for board in boards for _, images in board.images] == ["", ""]


def test_an_explanation_knows_its_images(tiny, picture):
    from mmgrad_explain import explain

    explanation = explain([picture, picture], ["make it red", "remove it"], model=tiny)
    board = Memory()
    MapLogger(board).log(5, explanation)
    ((_, images),) = board.images
    assert [caption for _, caption in images.values()] == ["make it red", "remove it"]
    wanted = draw_sample(picture, explanation.heatmap(1), "remove it", None, 5)
    assert images["maps/2"][0].tobytes() == wanted.tobytes()


def test_what_is_drawn():
    plain = np.asarray(draw_sample(IMAGES[0], HEAT[0], "make it red", None, 10))
    outlined = np.asarray(draw_sample(IMAGES[0], HEAT[0], "make it red", MASK, 10))
    assert plain.shape == outlined.shape
    assert plain.shape[0] > 256
    changed = (plain != outlined).any(-1)
    half = changed.shape[1] // 2
    assert changed[:, :half].sum() > 100  # the outline on the picture
    assert changed[:, half:].sum() > 100  # and on the map
    colours = plain.astype(int)
    warm = colours[..., 0] - colours[..., 2] > 60
    _, columns = np.nonzero(warm)
    assert columns.min() > half  # heat on the right alone
    signed = np.asarray(draw_sample(IMAGES[0], HEAT[0].clip(0), "make it red", None, 10))
    assert (signed == plain).all()  # what is negative is no heat
    empty = np.asarray(draw_sample(IMAGES[1], HEAT[1] * np.nan, "make it red", None, 10))
    colours = empty[:256].astype(int)
    assert (abs(colours[..., 0] - colours[..., 2]) < 60).all()


def test_what_does_not_fit():
    logger = MapLogger(Memory())
    with pytest.raises(InputError, match="images are missing: pass the images that the maps belong to"):
        logger.log(1, HEAT)
    with pytest.raises(InputError, match="as many maps as images, captions and masks, not 2, 1, 2, 2"):
        logger.log(1, HEAT, images=IMAGES[:1])


# -------------------------------------------------------------------------------------------------------- a Trainer's


class Small(nn.Module):
    """A model that a Trainer can train, and its maps."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2)
        self.head = nn.Linear(4, 1)

    def forward(self, pixel_values, labels=None):
        logits = self.head(self.layer(pixel_values).mean((2, 3)))[:, 0]
        return logits if labels is None else {"loss": ((logits - labels) ** 2).mean(), "logits": logits}


def draw(model):
    pixels = torch.stack([torch.from_numpy(one).permute(2, 0, 1) / 255 for one in IMAGES])
    return model.layer(pixels).abs().mean(1)


def trained(folder, logger, **changes):
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(0)
    data = [{"pixel_values": torch.rand(3, 24, 32), "labels": torch.rand(())} for _ in range(4)]
    options = {"max_steps": 4, "eval_steps": 2, "logging_steps": 2, "save_steps": 2, **changes}
    arguments = TrainingArguments(
        str(folder / "out"), eval_strategy="steps", per_device_train_batch_size=2, use_cpu=True, disable_tqdm=True,
        **{"report_to": "none", **options},
    )  # fmt: skip
    return Trainer(
        Small(), arguments, train_dataset=data, eval_dataset=data, callbacks=[logger],
        compute_metrics=lambda found: {"pointing": float(found.predictions.mean() > -9)},
    )  # fmt: skip


def test_any_trainer(tmp_path, capsys):
    logger = MapLogger(tmp_path / "tb", maps=draw, images=IMAGES, captions=CAPTIONS, masks=[MASK, None])
    trained(tmp_path, logger).train()
    logger.close()
    found = read(tmp_path / "tb")
    curves = {tag: [point.step for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert curves["grounding/pointing"] == curves["eval/loss"] == curves["train/loss"] == [2, 4]
    assert [image.step for image in found.Images("maps/2")] == [2, 4]
    assert [point.value for point in found.Scalars("grounding/pointing")] == [1, 1]


def test_a_trainer_that_goes_on(tmp_path, capsys):
    for steps, resume in ((6, None), (8, str(tmp_path / "out" / "checkpoint-4"))):
        logger = MapLogger(tmp_path / "tb", maps=draw, images=IMAGES)
        trained(tmp_path, logger, max_steps=steps).train(resume_from_checkpoint=resume)
        logger.close()
    found = read(tmp_path / "tb")
    assert [image.step for image in found.Images("maps/1")] == [2, 4, 6, 8]
    assert [point.step for point in found.Scalars("train/loss")] == [2, 4, 6, 8]


def test_a_trainer_that_reports_by_itself_has_no_curve_twice(tmp_path, capsys, monkeypatch):
    board = Memory()
    logger = MapLogger(board, maps=draw, images=IMAGES)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    trained(tmp_path, logger, report_to="tensorboard").train()
    assert board.figures == []
    assert [step for step, _ in board.images] == [2, 4]
    asked = MapLogger(board, figures=True)
    asked.on_log(SimpleNamespace(report_to=["tensorboard"]), state(1), None, {"eval_pointing": 0.5})
    assert board.figures == [(1, {"grounding/pointing": 0.5})]


def test_the_groups_of_a_trainers_figures():
    board = Memory()
    logger = MapLogger(board)
    logs = {
        "loss": 1.0, "epoch": 0.5, "total_flos": 9, "learning_rate": np.float32(0.5), "name": "x", "dice": 0.1,
        "contrast": 0.2, "dead": 0.3, "retrieval": 0.4, "accuracy": 0.5, "dense": 0.6,
        "eval_contrast": 0.7, "eval_dead": 0.8, "eval_pointing_add": 0.9, "eval_sibling_r1": 1.0, "eval_runtime": 2.0,
    }  # fmt: skip
    logger.on_log(SimpleNamespace(report_to=[]), state(3), None, logs)
    logger.on_log(SimpleNamespace(report_to=[]), state(3), None)
    assert board.figures[0] == (3, {
        "train/loss": 1.0, "train/learning_rate": 0.5, "grounding/train/dice": 0.1, "grounding/train/contrast": 0.2,
        "grounding/train/dead": 0.3, "retrieval/train/retrieval": 0.4, "retrieval/train/accuracy": 0.5,
        "train/dense": 0.6, "grounding/contrast": 0.7, "grounding/dead": 0.8, "grounding/pointing_add": 0.9,
        "retrieval/sibling_r1": 1.0, "eval/runtime": 2.0,
    })  # fmt: skip


def test_one_process_logs():
    board = Memory()
    logger = MapLogger(board, maps=lambda _: HEAT, images=IMAGES, figures=True)
    logger.on_log(None, state(1, first=False), None, {"loss": 1.0})
    logger.on_evaluate(None, state(1, first=False), None)
    assert board.figures == board.images == []
    logger.on_evaluate(None, state(1), None)
    assert len(board.images) == 1
    MapLogger(board).on_evaluate(None, state(1), None)
    assert len(board.images) == 1


def test_a_run_that_breaks_off_is_marked_as_failed(wandb):
    def breaks_off():
        with MapLogger(WeightsAndBiases(lambda: wandb.init(project="p"))) as logger:
            logger.log(1, HEAT, images=IMAGES, captions=CAPTIONS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks_off()
    (run,) = wandb.runs
    assert run.exit_code == 1
    assert run.logged[0]["maps/2"].caption == "remove the star"
