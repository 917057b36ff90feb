"""Layer 1: validated settings and the papers' defaults; no torch."""
