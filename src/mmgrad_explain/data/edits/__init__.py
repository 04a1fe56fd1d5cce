"""Edits of photographs, given masks of their objects."""
