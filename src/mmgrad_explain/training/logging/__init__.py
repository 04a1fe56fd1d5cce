"""Logging of a training run: metrics, overlays of maps, and the boards that they go to."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.training.logging.boards import Board as Board
    from mmgrad_explain.training.logging.boards import TensorBoard as TensorBoard
    from mmgrad_explain.training.logging.boards import WeightsAndBiases as WeightsAndBiases
    from mmgrad_explain.training.logging.map_grid import MapGrid as MapGrid
    from mmgrad_explain.training.logging.map_logger import MapLogger as MapLogger
    from mmgrad_explain.training.logging.map_logger import draw_sample as draw_sample

__getattr__, __dir__ = door(__name__)
