"""Training of the shipped model, and its evaluation on scenes."""
