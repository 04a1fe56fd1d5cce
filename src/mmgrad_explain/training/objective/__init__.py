"""The loss of a training step and its options."""
