"""Layer 2: networks by name; each gives logits and features."""
