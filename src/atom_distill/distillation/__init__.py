"""Layer 5: initial images, one step, the loop, checkpoints, and the methods."""
