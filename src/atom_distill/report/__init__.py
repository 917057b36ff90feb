"""Layer 7: runs as one HTML page."""
