"""Training of the shipped model, and its evaluation on scenes."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.training.config_file import load_config as load_config
    from mmgrad_explain.training.logging.boards import TensorBoard as TensorBoard
    from mmgrad_explain.training.logging.map_logger import MapLogger as MapLogger
    from mmgrad_explain.training.objective.objective import GroundedObjective as GroundedObjective
    from mmgrad_explain.training.run import train as train
    from mmgrad_explain.training.sources.base import SceneSource as SceneSource
    from mmgrad_explain.training.sources.base import SceneSourceOptions as SceneSourceOptions
    from mmgrad_explain.training.trainer import GroundedTrainer as GroundedTrainer
    from mmgrad_explain.training.trainer_arguments import training_arguments as training_arguments

__getattr__, __dir__ = door(__name__)
