"""Families of contrastive and matching models: one file a family, with its layer, composer and quirks."""
