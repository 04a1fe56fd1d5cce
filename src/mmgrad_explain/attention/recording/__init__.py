"""Record what the layers and the attention of a model did in a forward, as part of its graph."""
