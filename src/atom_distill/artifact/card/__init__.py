"""Layer 2: the README.md of a distilled set, made of what the set tells it, without the set itself."""
