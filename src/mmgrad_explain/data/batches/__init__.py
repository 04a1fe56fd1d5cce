"""Triplets as arrays and tensors for a step."""
