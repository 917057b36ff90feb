"""Slow float64 references of the formulas: numpy loops written from the papers, independent of the package."""
