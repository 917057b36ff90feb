"""Layer 6: distilled sets as files for other tools (tensors, tables, pictures), and as data sets on the hub."""
