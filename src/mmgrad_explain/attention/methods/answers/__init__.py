"""Methods for models that answer in words."""
