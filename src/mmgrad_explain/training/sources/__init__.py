"""Sources of training data: scenes, labelled photographs, triplets, composed-retrieval sets, and mixtures."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.training.sources.cir import CirSource as CirSource
    from mmgrad_explain.training.sources.cir import CirSourceOptions as CirSourceOptions
    from mmgrad_explain.training.sources.kinds import SOURCES as SOURCES
    from mmgrad_explain.training.sources.kinds import build_source as build_source
    from mmgrad_explain.training.sources.mixture import Mixture as Mixture
    from mmgrad_explain.training.sources.photo_options import PhotoOptions as PhotoOptions
    from mmgrad_explain.training.sources.photos import PhotoSource as PhotoSource
    from mmgrad_explain.training.sources.scenes import SceneSource as SceneSource
    from mmgrad_explain.training.sources.scenes import SceneSourceOptions as SceneSourceOptions
    from mmgrad_explain.training.sources.source import Source as Source
    from mmgrad_explain.training.sources.source import SourceOptions as SourceOptions
    from mmgrad_explain.training.sources.triplets import TripletSource as TripletSource
    from mmgrad_explain.training.sources.triplets import TripletSourceOptions as TripletSourceOptions

__getattr__, __dir__ = door(__name__)
