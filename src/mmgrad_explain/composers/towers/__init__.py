"""A vision tower of timm beside a text tower."""
