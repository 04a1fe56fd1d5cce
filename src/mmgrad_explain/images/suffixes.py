"""The suffixes of image files."""

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
"""In lower case; where a name may have several of them, the earlier one is preferred."""
