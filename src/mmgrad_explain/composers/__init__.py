"""Composers: vision-language models behind one interface, loaded by name, from a folder or the hub, or in memory."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.model_hints import Reader as Reader
    from mmgrad_explain.attention.model_hints import StagedModel as StagedModel
    from mmgrad_explain.composers.base import Composer as Composer
    from mmgrad_explain.composers.base import ComposerInputs as ComposerInputs
    from mmgrad_explain.composers.base import prepare_batch as prepare_batch
    from mmgrad_explain.composers.bundled import Choice as Choice
    from mmgrad_explain.composers.bundled import choose_bundled as choose_bundled
    from mmgrad_explain.composers.bundled import choose_by_images as choose_by_images
    from mmgrad_explain.composers.clip.composer import ClipComposer as ClipComposer
    from mmgrad_explain.composers.contract import AnsweringModel as AnsweringModel
    from mmgrad_explain.composers.contract import ComposingModel as ComposingModel
    from mmgrad_explain.composers.contract import Processor as Processor
    from mmgrad_explain.composers.contract import TrainableModel as TrainableModel
    from mmgrad_explain.composers.contract import TrainingProcessor as TrainingProcessor
    from mmgrad_explain.composers.contract import TrainingStages as TrainingStages
    from mmgrad_explain.composers.dual_encoder import DualEncoder as DualEncoder
    from mmgrad_explain.composers.embedding import ModelIdentity as ModelIdentity
    from mmgrad_explain.composers.embedding import embed_images as embed_images
    from mmgrad_explain.composers.embedding import embed_query as embed_query
    from mmgrad_explain.composers.embedding import fingerprint as fingerprint
    from mmgrad_explain.composers.embedding import identify as identify
    from mmgrad_explain.composers.familiarity import Familiarity as Familiarity
    from mmgrad_explain.composers.files import load_weights as load_weights
    from mmgrad_explain.composers.files import save_weights as save_weights
    from mmgrad_explain.composers.fusion.composer import FusionComposer as FusionComposer
    from mmgrad_explain.composers.generative.composer import GenerativeComposer as GenerativeComposer
    from mmgrad_explain.composers.huggingface.composer import HuggingFaceComposer as HuggingFaceComposer
    from mmgrad_explain.composers.huggingface.vision_text import VisionTextComposer as VisionTextComposer
    from mmgrad_explain.composers.load import BUNDLED as BUNDLED
    from mmgrad_explain.composers.load import load_composer as load_composer
    from mmgrad_explain.composers.model_capabilities import Capabilities as Capabilities
    from mmgrad_explain.composers.model_capabilities import capabilities as capabilities
    from mmgrad_explain.composers.model_capabilities import check_trainable as check_trainable
    from mmgrad_explain.composers.openclip.composer import OpenClipComposer as OpenClipComposer
    from mmgrad_explain.composers.outputs import ComposedOutput as ComposedOutput
    from mmgrad_explain.composers.outputs import TwoTowerOutput as TwoTowerOutput
    from mmgrad_explain.composers.outputs import reference_alone as reference_alone
    from mmgrad_explain.composers.processor import SquareProcessor as SquareProcessor
    from mmgrad_explain.composers.published.opening import PUBLISHED as PUBLISHED
    from mmgrad_explain.composers.published.opening import open_published as open_published
    from mmgrad_explain.composers.reference.composer import ReferenceComposer as ReferenceComposer
    from mmgrad_explain.composers.reference.processor import ReferenceProcessor as ReferenceProcessor
    from mmgrad_explain.composers.reference.tokenizer import build_tokenizer as build_tokenizer
    from mmgrad_explain.composers.sprc.composer import SprcComposer as SprcComposer
    from mmgrad_explain.composers.square_images import SquareImages as SquareImages
    from mmgrad_explain.composers.stand_ins.build import stand_in as stand_in
    from mmgrad_explain.composers.towers.composer import TwoTowerComposer as TwoTowerComposer

__getattr__, __dir__ = door(__name__)
