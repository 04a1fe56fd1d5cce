"""Run a model again on changed images: hidden squares, random masks, ways from a baseline, checks of maps."""
