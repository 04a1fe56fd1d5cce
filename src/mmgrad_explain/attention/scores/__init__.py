"""Scalars that the gradient is taken of, one a sample."""
