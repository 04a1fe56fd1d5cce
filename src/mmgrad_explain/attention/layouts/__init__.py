"""How the output of a layer lies on the image."""
