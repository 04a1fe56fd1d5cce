"""Where training batches come from: scenes, photographs, triplet sets."""
