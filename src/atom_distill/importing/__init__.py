"""Layer 3: other people's published distilled sets, read into an artifact of ours."""
