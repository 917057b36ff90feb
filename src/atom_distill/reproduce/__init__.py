"""Layer 7: the papers' tables as declared grids, run cell by cell and set beside the published figures."""
