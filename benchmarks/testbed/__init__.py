"""Models that were trained without the grounding loss, and what is measured on their maps."""
