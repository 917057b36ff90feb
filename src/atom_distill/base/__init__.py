"""Layer 0: used by every other package (errors, registry, seeding, files, progress)."""
