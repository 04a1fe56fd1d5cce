"""Data sets of composed image retrieval."""
