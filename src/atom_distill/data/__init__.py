"""Layer 2: image sets, where they come from, how they are stored, and what the network sees of them."""
