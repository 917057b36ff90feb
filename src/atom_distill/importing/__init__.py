"""Layer 6: distilled sets that others published, read without running any code that their files may hold."""
