"""Slow float64 twins of our formulas: numpy loops written from the paper, importing nothing from the package."""
