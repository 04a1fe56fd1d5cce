"""Methods: what makes a map of a forward and its score."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.attention.grad_eclip_words import word_relevance as word_relevance
    from mmgrad_explain.attention.methods.answers.relative_attention import RelativeAttention as RelativeAttention
    from mmgrad_explain.attention.methods.answers.token_activation import TokenActivation as TokenActivation
    from mmgrad_explain.attention.methods.attention.dense import Dense as Dense
    from mmgrad_explain.attention.methods.attention.grad_eclip import GradEclip as GradEclip
    from mmgrad_explain.attention.methods.attention.legrad import LeGrad as LeGrad
    from mmgrad_explain.attention.methods.attention.relevancy import Relevancy as Relevancy
    from mmgrad_explain.attention.methods.attention.rollout import AttentionRollout as AttentionRollout
    from mmgrad_explain.attention.methods.base import Method as Method
    from mmgrad_explain.attention.methods.base import MethodMaps as MethodMaps
    from mmgrad_explain.attention.methods.base import Needs as Needs
    from mmgrad_explain.attention.methods.causal.occlusion import Occlusion as Occlusion
    from mmgrad_explain.attention.methods.causal.path_gradients import IntegratedGradients as IntegratedGradients
    from mmgrad_explain.attention.methods.causal.rise import Rise as Rise
    from mmgrad_explain.attention.methods.named import METHODS as METHODS
    from mmgrad_explain.attention.methods.named import ensure_method as ensure_method
    from mmgrad_explain.attention.methods.run import Run as Run
    from mmgrad_explain.attention.methods.weighted import Weighted as Weighted

__getattr__, __dir__ = door(__name__)
