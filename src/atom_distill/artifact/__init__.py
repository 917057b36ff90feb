"""Layer 2: the distilled set as a folder that explains itself."""
