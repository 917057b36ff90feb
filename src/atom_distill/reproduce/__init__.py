"""Layer 7: the papers' tables, run cell by cell and set beside the published figures."""
