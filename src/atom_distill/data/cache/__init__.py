"""Layer 2: the cache of decoded sets: images become uint8 arrays on disk, which are opened as memory maps."""
