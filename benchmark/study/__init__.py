"""What a command asks for: grids, ablations, tuning, preparation, proof."""
