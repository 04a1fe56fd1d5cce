"""Calibration: which layer and method agree best with what a model's score depends on, measured on own inputs."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.calibration.result import Calibration as Calibration
    from mmgrad_explain.attention.calibration.result import CalibrationRow as CalibrationRow
    from mmgrad_explain.attention.calibration.search import calibrate as calibrate

__getattr__, __dir__ = door(__name__)
