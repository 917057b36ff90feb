"""Layer 0: what every other room stands on (errors, registry, seeding, files, progress)."""
