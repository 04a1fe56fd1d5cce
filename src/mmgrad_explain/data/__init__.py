"""Triplets to train and measure with."""
