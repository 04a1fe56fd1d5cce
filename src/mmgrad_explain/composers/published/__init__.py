"""Weights of composed retrieval as others published them, from files that a user has."""

from typing import TYPE_CHECKING

from mmgrad_explain._doors import door

if TYPE_CHECKING:
    from mmgrad_explain.composers.published.opening import PUBLISHED as PUBLISHED
    from mmgrad_explain.composers.published.opening import open_published as open_published

__getattr__, __dir__ = door(__name__)
