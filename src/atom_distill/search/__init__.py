"""Layer 7: architectures ranked by training each on a small proxy of the data."""
