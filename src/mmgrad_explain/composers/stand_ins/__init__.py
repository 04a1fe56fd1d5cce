"""Small random models in place of downloaded ones."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.stand_ins.build import from_hub_or_stand_in as from_hub_or_stand_in
    from mmgrad_explain.composers.stand_ins.build import stand_in as stand_in
    from mmgrad_explain.composers.stand_ins.models import KINDS as KINDS

__getattr__, __dir__ = door(__name__)
