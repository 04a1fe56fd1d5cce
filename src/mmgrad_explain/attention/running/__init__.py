"""Run any model: find its modules, walk its inputs and outputs, leave it as it was, read the graph of a forward."""
