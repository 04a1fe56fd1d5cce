"""The attention of a model: where it runs, whose tokens it reads, and how one attention reads another."""
