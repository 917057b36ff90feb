"""Layer 8: one file per command; parses, calls, prints; turns our errors into exit code 2."""
