"""The reference model of composed image retrieval, which ships with the package."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.reference.build import build_network as build_network
    from mmgrad_explain.composers.reference.composer import ReferenceComposer as ReferenceComposer
    from mmgrad_explain.composers.reference.config import NetworkConfig as NetworkConfig
    from mmgrad_explain.composers.reference.network import ReferenceNetwork as ReferenceNetwork
    from mmgrad_explain.composers.reference.processor import ReferenceProcessor as ReferenceProcessor
    from mmgrad_explain.composers.reference.tokenizer import build_tokenizer as build_tokenizer
    from mmgrad_explain.composers.reference.transformers_model import ReferenceConfig as ReferenceConfig
    from mmgrad_explain.composers.reference.transformers_model import ReferenceModel as ReferenceModel

__getattr__, __dir__ = door(__name__)
