"""Layer 3: train networks from scratch, one or several at once, as the machine does it best."""
