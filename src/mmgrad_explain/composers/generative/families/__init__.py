"""Families of generative models: one file a family, with its layer, layout, placement and prompt."""
