"""Where a run is logged."""

from types import SimpleNamespace

import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.training import package_checks
from mmgrad_explain.training.logging.boards import Board, TensorBoard, WeightsAndBiases, board_of


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def points(folder, tag="a/b"):
    return [(point.step, point.value) for point in read(folder).Scalars(tag)]


PICTURE = {"maps/1": (Image.new("RGB", (30, 20), "red"), "a red star")}


def test_a_folder_and_its_name(tmp_path):
    for place in (tmp_path / "one", str(tmp_path / "two")):
        board = board_of(place)
        assert not (tmp_path / "one" / "events").exists()
        board.log_figures({"a/b": 0.5}, 7)
        board.log_images(PICTURE, 7)
        board.close()
        assert points(place) == [(7, 0.5)]
        (image,) = read(place).Images("maps/1")
        assert (image.step, image.width, image.height) == (7, 30, 20)


def test_nothing_is_written_before_something_is_logged(tmp_path):
    board = TensorBoard(tmp_path / "runs")
    board.close()
    assert not (tmp_path / "runs").exists()


def test_a_resumed_board_hides_later_steps(tmp_path):
    first = TensorBoard(tmp_path)
    for step in (1, 2, 3, 4):
        first.log_figures({"a/b": 0.25}, step)
        first.log_images(PICTURE, step)
    first.close()
    again = TensorBoard(tmp_path, begun=2)
    again.log_figures({"a/b": 0.75}, 3)
    again.log_images(PICTURE, 3)
    again.close()
    again.log_figures({"a/b": 0.75}, 4)  # opens another file, which takes nothing back
    again.close()
    assert points(tmp_path) == [(1, 0.25), (2, 0.25), (3, 0.75), (4, 0.75)]
    assert [image.step for image in read(tmp_path).Images("maps/1")] == [1, 2, 3]


def test_a_writer_stays_open(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    board = board_of(writer)
    board.log_figures({"a/b": 0.5}, 1)
    board.close()
    writer.add_scalar("a/b", 0.25, 2)
    writer.close()
    assert points(tmp_path) == [(1, 0.5), (2, 0.25)]


def test_a_run_of_weights_and_biases_stays_open(wandb):
    run = wandb.init(project="p")
    board = board_of(run)
    board.log_figures({"grounding/pointing": 0.5}, 3)
    board.log_images(PICTURE, 3)
    board.close()
    assert run.exit_code is None
    assert run.defined["train/global_step"] is None
    assert run.defined["grounding/*"] == run.defined["maps/*"] == "train/global_step"
    figures, images = run.logged
    assert figures == {"grounding/pointing": 0.5, "train/global_step": 3}
    assert images["maps/1"].image is PICTURE["maps/1"][0]
    assert images["maps/1"].caption == "a red star"
    assert images["train/global_step"] == 3


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_that_was_started_is_finished(wandb, failed):
    board = WeightsAndBiases(lambda: wandb.init(project="p"))
    board.close()
    assert wandb.runs == []
    board.log_figures({"a/b": 1.0}, 1)
    board.log_figures({"a/b": 1.0}, 2)
    board.close(failed=failed)
    (run,) = wandb.runs
    assert run.exit_code == int(failed)


def test_anything_like_a_board_is_one():
    own = SimpleNamespace(log_figures=print, log_images=print)
    assert isinstance(own, Board)
    assert board_of(own) is own


def test_what_is_none():
    with pytest.raises(TypeError, match=r"a folder, a SummaryWriter, a run of Weights & Biases, or .* not to int"):
        board_of(3)


def test_a_folder_needs_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(package_checks, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"logging to .*runs needs tensorboard, .* pip install 'mmgrad-explain\[train"):
        board_of(tmp_path / "runs")
