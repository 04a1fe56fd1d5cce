"""Training of composers: options and config files, runs, the trainer, losses, data and logs."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.training.config import EvaluationOptions as EvaluationOptions
    from mmgrad_explain.training.config import LoraOptions as LoraOptions
    from mmgrad_explain.training.config import ModelOptions as ModelOptions
    from mmgrad_explain.training.config import OptimizerOptions as OptimizerOptions
    from mmgrad_explain.training.config import TrainingConfig as TrainingConfig
    from mmgrad_explain.training.config_file import config_from as config_from
    from mmgrad_explain.training.config_file import config_names as config_names
    from mmgrad_explain.training.config_file import config_values as config_values
    from mmgrad_explain.training.config_file import dump_config as dump_config
    from mmgrad_explain.training.config_file import load_config as load_config
    from mmgrad_explain.training.held_out_figures import evaluate_batches as evaluate_batches
    from mmgrad_explain.training.logging.boards import Board as Board
    from mmgrad_explain.training.logging.boards import TensorBoard as TensorBoard
    from mmgrad_explain.training.logging.boards import WeightsAndBiases as WeightsAndBiases
    from mmgrad_explain.training.logging.map_logger import MapLogger as MapLogger
    from mmgrad_explain.training.loop_arguments import training_arguments as training_arguments
    from mmgrad_explain.training.models import save_composer as save_composer
    from mmgrad_explain.training.models import starting_composer as starting_composer
    from mmgrad_explain.training.objective.grounded_objective import GroundedObjective as GroundedObjective
    from mmgrad_explain.training.objective.grounded_objective import Losses as Losses
    from mmgrad_explain.training.objective.options import DenseOptions as DenseOptions
    from mmgrad_explain.training.objective.options import GroundingOptions as GroundingOptions
    from mmgrad_explain.training.objective.options import ObjectiveOptions as ObjectiveOptions
    from mmgrad_explain.training.objective.options import RetrievalOptions as RetrievalOptions
    from mmgrad_explain.training.run import TrainingResult as TrainingResult
    from mmgrad_explain.training.run import train as train
    from mmgrad_explain.training.sources.kinds import build_source as build_source
    from mmgrad_explain.training.sources.mixture import Mixture as Mixture
    from mmgrad_explain.training.sources.photo_options import PhotoOptions as PhotoOptions
    from mmgrad_explain.training.sources.photos import PhotoSource as PhotoSource
    from mmgrad_explain.training.sources.scenes import SceneSource as SceneSource
    from mmgrad_explain.training.sources.scenes import SceneSourceOptions as SceneSourceOptions
    from mmgrad_explain.training.sources.source import Source as Source
    from mmgrad_explain.training.sources.triplets import TripletSource as TripletSource
    from mmgrad_explain.training.sources.triplets import TripletSourceOptions as TripletSourceOptions
    from mmgrad_explain.training.trainer import GroundedTrainer as GroundedTrainer

__getattr__, __dir__ = door(__name__)
