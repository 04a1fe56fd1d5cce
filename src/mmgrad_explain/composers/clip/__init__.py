"""CLIP with a combiner."""
