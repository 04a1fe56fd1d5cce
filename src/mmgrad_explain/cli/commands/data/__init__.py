"""``mmgrad-explain data``: build triplet sets, check benchmarks."""
