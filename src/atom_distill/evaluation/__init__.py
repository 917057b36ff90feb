"""Layer 3: train networks from scratch on a set, score them on the test split, under a named protocol."""
