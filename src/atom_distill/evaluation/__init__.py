"""Layer 4: score a set by networks trained on it and tested on the test split, under a named protocol."""
