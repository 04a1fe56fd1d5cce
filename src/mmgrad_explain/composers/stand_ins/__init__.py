"""Small random models in place of downloaded ones."""
