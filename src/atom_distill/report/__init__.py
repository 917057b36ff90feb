"""Layer 5: runs as one HTML page."""
