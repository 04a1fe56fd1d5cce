"""Losses on attention maps: make a model look where it should."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.grounding.forms import FORMS as FORMS
    from mmgrad_explain.grounding.forms import Form as Form
    from mmgrad_explain.grounding.forms import amc_loss as amc_loss
    from mmgrad_explain.grounding.forms import bce_loss as bce_loss
    from mmgrad_explain.grounding.forms import dice_loss as dice_loss
    from mmgrad_explain.grounding.forms import ensure_form as ensure_form
    from mmgrad_explain.grounding.forms import kl_loss as kl_loss
    from mmgrad_explain.grounding.forms import softmax_loss as softmax_loss
    from mmgrad_explain.grounding.forms import softplus_loss as softplus_loss
    from mmgrad_explain.grounding.loss import DEFAULT_WEIGHTS as DEFAULT_WEIGHTS
    from mmgrad_explain.grounding.loss import MASKED_TERMS as MASKED_TERMS
    from mmgrad_explain.grounding.loss import PAIRED_TERMS as PAIRED_TERMS
    from mmgrad_explain.grounding.loss import AttentionGroundingLoss as AttentionGroundingLoss
    from mmgrad_explain.grounding.loss import GroundingReport as GroundingReport
    from mmgrad_explain.grounding.maps import dead_maps as dead_maps
    from mmgrad_explain.grounding.masking import MaskedScores as MaskedScores
    from mmgrad_explain.grounding.masking import hidden_loss as hidden_loss
    from mmgrad_explain.grounding.masking import shown_loss as shown_loss
    from mmgrad_explain.grounding.masking import soft_mask as soft_mask
    from mmgrad_explain.grounding.masking import split_images as split_images
    from mmgrad_explain.grounding.self_supervision import PairedMaps as PairedMaps
    from mmgrad_explain.grounding.self_supervision import selfeq_loss as selfeq_loss
    from mmgrad_explain.grounding.self_supervision import separation_loss as separation_loss
    from mmgrad_explain.grounding.targets import GroundingTargets as GroundingTargets
    from mmgrad_explain.grounding.targets import grounding_targets as grounding_targets
    from mmgrad_explain.grounding.targets import partner_masks as partner_masks
    from mmgrad_explain.grounding.terms import consistency_loss as consistency_loss
    from mmgrad_explain.grounding.terms import contrast_loss as contrast_loss
    from mmgrad_explain.grounding.terms import margin_loss as margin_loss

__getattr__, __dir__ = door(__name__)
