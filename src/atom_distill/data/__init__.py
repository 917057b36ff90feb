"""Layer 2: image data sets: the type, loading, choosing images, statistics. Below it: `sources/` and `cache/`."""
