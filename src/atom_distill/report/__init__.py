"""Layer 5: runs as one page for people."""
