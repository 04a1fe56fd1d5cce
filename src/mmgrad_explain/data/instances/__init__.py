"""Photographs with object masks."""
