"""Layer 2: networks by name; each returns logits and features."""
