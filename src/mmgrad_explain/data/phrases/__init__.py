"""Images with phrases and their regions: triplet sets, COCO, RefCOCO, Flickr30k Entities, Open Images."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.data.phrases.dataset import PhraseSample as PhraseSample
    from mmgrad_explain.data.phrases.dataset import PhraseSet as PhraseSet
    from mmgrad_explain.data.phrases.formats import PHRASE_FORMATS as PHRASE_FORMATS
    from mmgrad_explain.data.phrases.formats import find_format as find_format
    from mmgrad_explain.data.phrases.formats import read_phrases as read_phrases
    from mmgrad_explain.data.phrases.plain_pickle import read_plain_pickle as read_plain_pickle
    from mmgrad_explain.data.phrases.region import Box as Box
    from mmgrad_explain.data.phrases.region import MaskFile as MaskFile
    from mmgrad_explain.data.phrases.region import Region as Region
    from mmgrad_explain.data.phrases.region import Segmentation as Segmentation

__getattr__, __dir__ = door(__name__)
