"""The ways a model is called to be explained: once, for many texts of one image, in a step of training."""
