"""Composers on data: benchmarks of composed retrieval, drawn scenes, triplets with masks; and the metrics."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.evaluation.composed_retrieval import QUERY_KINDS as QUERY_KINDS
    from mmgrad_explain.evaluation.composed_retrieval import CirEvaluation as CirEvaluation
    from mmgrad_explain.evaluation.composed_retrieval import EmbeddingProgress as EmbeddingProgress
    from mmgrad_explain.evaluation.composed_retrieval import evaluate_cir as evaluate_cir
    from mmgrad_explain.evaluation.faithfulness import Faithfulness as Faithfulness
    from mmgrad_explain.evaluation.faithfulness import measure_faithfulness as measure_faithfulness
    from mmgrad_explain.evaluation.figures import TripletFigures as TripletFigures
    from mmgrad_explain.evaluation.map_report import write_map_report as write_map_report
    from mmgrad_explain.evaluation.map_set_figures import MapSetFigures as MapSetFigures
    from mmgrad_explain.evaluation.map_sets import MapMaker as MapMaker
    from mmgrad_explain.evaluation.map_sets import evaluate_map_set as evaluate_map_set
    from mmgrad_explain.evaluation.maps import IMAGE_ONLY as IMAGE_ONLY
    from mmgrad_explain.evaluation.maps import MapDrawer as MapDrawer
    from mmgrad_explain.evaluation.maps import MapKind as MapKind
    from mmgrad_explain.evaluation.maps import default_kind as default_kind
    from mmgrad_explain.evaluation.maps import draw_maps as draw_maps
    from mmgrad_explain.evaluation.maps import image_only as image_only
    from mmgrad_explain.evaluation.scenes import SceneFigures as SceneFigures
    from mmgrad_explain.evaluation.scenes import evaluate_scenes as evaluate_scenes
    from mmgrad_explain.evaluation.scenes import scene_faithfulness as scene_faithfulness
    from mmgrad_explain.evaluation.submission import circo_submission as circo_submission
    from mmgrad_explain.evaluation.submission import cirr_submission as cirr_submission
    from mmgrad_explain.evaluation.submission import submission_files as submission_files
    from mmgrad_explain.evaluation.submission import write_submission as write_submission
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet as PhotoTriplet
    from mmgrad_explain.evaluation.triplet_inputs import batch_triplets as batch_triplets
    from mmgrad_explain.evaluation.triplet_inputs import folder_triplets as folder_triplets
    from mmgrad_explain.evaluation.triplets import evaluate_triplets as evaluate_triplets
    from mmgrad_explain.evaluation.triplets import floor_figures as floor_figures
    from mmgrad_explain.evaluation.triplets import triplet_faithfulness as triplet_faithfulness
    from mmgrad_explain.metrics.faithfulness import FILLS as FILLS
    from mmgrad_explain.metrics.faithfulness import ImageScore as ImageScore
    from mmgrad_explain.metrics.faithfulness import Perturbation as Perturbation
    from mmgrad_explain.metrics.faithfulness import deletion_insertion as deletion_insertion
    from mmgrad_explain.metrics.faithfulness import fill_images as fill_images
    from mmgrad_explain.metrics.faithfulness import parameter_randomization as parameter_randomization
    from mmgrad_explain.metrics.faithfulness import rank_correlation as rank_correlation
    from mmgrad_explain.metrics.floors import best_fixed_point as best_fixed_point
    from mmgrad_explain.metrics.floors import centre_gaussian as centre_gaussian
    from mmgrad_explain.metrics.floors import chance as chance
    from mmgrad_explain.metrics.floors import image_centre as image_centre
    from mmgrad_explain.metrics.floors import random_map as random_map
    from mmgrad_explain.metrics.intervals import Interval as Interval
    from mmgrad_explain.metrics.intervals import bootstrap_interval as bootstrap_interval
    from mmgrad_explain.metrics.localization import contrast_accuracy as contrast_accuracy
    from mmgrad_explain.metrics.localization import energy_inside as energy_inside
    from mmgrad_explain.metrics.localization import flat_map as flat_map
    from mmgrad_explain.metrics.localization import intersection_over_union as intersection_over_union
    from mmgrad_explain.metrics.localization import pointing_game as pointing_game
    from mmgrad_explain.metrics.localization import roc_auc as roc_auc
    from mmgrad_explain.metrics.map_figures import MAP_FIGURES as MAP_FIGURES
    from mmgrad_explain.metrics.map_figures import MapFigure as MapFigure
    from mmgrad_explain.metrics.map_figures import figure_names as figure_names
    from mmgrad_explain.metrics.map_figures import measure_maps as measure_maps
    from mmgrad_explain.metrics.map_metrics import AgreementMetric as AgreementMetric
    from mmgrad_explain.metrics.map_metrics import FaithfulnessMetric as FaithfulnessMetric
    from mmgrad_explain.metrics.map_metrics import LocalizationMetric as LocalizationMetric
    from mmgrad_explain.metrics.protocols import GALLERIES as GALLERIES
    from mmgrad_explain.metrics.protocols import PROTOCOLS as PROTOCOLS
    from mmgrad_explain.metrics.protocols import Protocol as Protocol
    from mmgrad_explain.metrics.protocols import choose_protocol as choose_protocol
    from mmgrad_explain.metrics.rankings import RANKING_FIGURES as RANKING_FIGURES
    from mmgrad_explain.metrics.rankings import RankingQueries as RankingQueries
    from mmgrad_explain.metrics.rankings import score_rankings as score_rankings
    from mmgrad_explain.metrics.rankings import summarize as summarize
    from mmgrad_explain.metrics.report import confidence_half_width as confidence_half_width
    from mmgrad_explain.metrics.report import environment as environment
    from mmgrad_explain.metrics.report import environment_line as environment_line
    from mmgrad_explain.metrics.report import format_number as format_number
    from mmgrad_explain.metrics.report import markdown_table as markdown_table
    from mmgrad_explain.metrics.report import mean_and_spread as mean_and_spread
    from mmgrad_explain.metrics.report import mean_of_known as mean_of_known
    from mmgrad_explain.metrics.retrieval import average_precision as average_precision
    from mmgrad_explain.metrics.retrieval import best_first as best_first
    from mmgrad_explain.metrics.retrieval import best_ranks as best_ranks
    from mmgrad_explain.metrics.retrieval import recall_at as recall_at
    from mmgrad_explain.metrics.retrieval import soft_recall as soft_recall
    from mmgrad_explain.metrics.retrieval import target_ranks as target_ranks
    from mmgrad_explain.metrics.sample_metric import SampleMetric as SampleMetric
    from mmgrad_explain.metrics.torchmetrics_adapter import as_torchmetric as as_torchmetric

__getattr__, __dir__ = door(__name__)
