"""The reference model of composed image retrieval."""
