"""``mmgrad-explain overlay``: images with maps of where a model looks."""
