"""Figures, as pure functions on tensors."""
