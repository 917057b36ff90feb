"""Layer 6: other people's published distilled sets, read into an artifact of ours."""
