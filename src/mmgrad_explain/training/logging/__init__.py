"""Where a training run is watched: boards, overlays and curves."""
