"""What the benchmarks on photographs measure: edits, freely worded texts, chosen models, known words."""
