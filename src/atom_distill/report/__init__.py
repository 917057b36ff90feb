"""Layer 7: runs as one page for people."""
