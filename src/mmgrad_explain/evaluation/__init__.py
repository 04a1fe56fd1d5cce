"""Models on data: composed-retrieval benchmarks, scenes and triplets with masks; and the metrics they use."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.evaluation.composed_retrieval import CirEvaluation as CirEvaluation
    from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir as evaluate_cir
    from mmgrad_explain.evaluation.composed_retrieval import submission_files as submission_files
    from mmgrad_explain.evaluation.maps import IMAGE_ONLY as IMAGE_ONLY
    from mmgrad_explain.evaluation.maps import MapKind as MapKind
    from mmgrad_explain.evaluation.maps import draw_maps as draw_maps
    from mmgrad_explain.evaluation.maps import image_only as image_only
    from mmgrad_explain.evaluation.scenes import SceneFigures as SceneFigures
    from mmgrad_explain.evaluation.scenes import evaluate_scenes as evaluate_scenes
    from mmgrad_explain.evaluation.scenes import scene_faithfulness as scene_faithfulness
    from mmgrad_explain.evaluation.submission import circo_submission as circo_submission
    from mmgrad_explain.evaluation.submission import cirr_submission as cirr_submission
    from mmgrad_explain.evaluation.submission import write_submission as write_submission
    from mmgrad_explain.evaluation.triplet_inputs import folder_triplets as folder_triplets
    from mmgrad_explain.evaluation.triplets import TripletFigures as TripletFigures
    from mmgrad_explain.evaluation.triplets import evaluate_triplets as evaluate_triplets
    from mmgrad_explain.evaluation.triplets import floor_figures as floor_figures
    from mmgrad_explain.evaluation.triplets import triplet_faithfulness as triplet_faithfulness
    from mmgrad_explain.metrics.composed_retrieval import average_precision as average_precision
    from mmgrad_explain.metrics.composed_retrieval import best_ranks as best_ranks
    from mmgrad_explain.metrics.composed_retrieval import recall_at as recall_at
    from mmgrad_explain.metrics.composed_retrieval import soft_recall as soft_recall
    from mmgrad_explain.metrics.composed_retrieval import target_ranks as target_ranks
    from mmgrad_explain.metrics.faithfulness import FILLS as FILLS
    from mmgrad_explain.metrics.faithfulness import Perturbation as Perturbation
    from mmgrad_explain.metrics.faithfulness import deletion_insertion as deletion_insertion
    from mmgrad_explain.metrics.faithfulness import parameter_randomization as parameter_randomization
    from mmgrad_explain.metrics.faithfulness import rank_correlation as rank_correlation
    from mmgrad_explain.metrics.floors import best_fixed_point as best_fixed_point
    from mmgrad_explain.metrics.floors import centre_gaussian as centre_gaussian
    from mmgrad_explain.metrics.floors import chance as chance
    from mmgrad_explain.metrics.floors import image_centre as image_centre
    from mmgrad_explain.metrics.floors import random_map as random_map
    from mmgrad_explain.metrics.localization import contrast_accuracy as contrast_accuracy
    from mmgrad_explain.metrics.localization import energy_inside as energy_inside
    from mmgrad_explain.metrics.localization import intersection_over_union as intersection_over_union
    from mmgrad_explain.metrics.localization import pointing_game as pointing_game
    from mmgrad_explain.metrics.localization import roc_auc as roc_auc
    from mmgrad_explain.metrics.protocols import PROTOCOLS as PROTOCOLS
    from mmgrad_explain.metrics.protocols import Protocol as Protocol
    from mmgrad_explain.metrics.protocols import Questions as Questions
    from mmgrad_explain.metrics.protocols import judge as judge
    from mmgrad_explain.metrics.protocols import summarize as summarize
    from mmgrad_explain.metrics.report import environment as environment
    from mmgrad_explain.metrics.report import interval as interval
    from mmgrad_explain.metrics.report import markdown_table as markdown_table
    from mmgrad_explain.metrics.report import mean_and_spread as mean_and_spread
    from mmgrad_explain.metrics.report import mean_of as mean_of

__getattr__, __dir__ = door(__name__)
