"""Methods of composed image retrieval on top of two towers."""
