"""Layer 1: the processes that work on one run together, as torchrun starts them, and workers on the cores of a CPU."""
