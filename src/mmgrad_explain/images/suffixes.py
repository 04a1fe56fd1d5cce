"""The suffixes of image files."""

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
"""In lower case. A name without a suffix is looked up with each of them, in this order."""
