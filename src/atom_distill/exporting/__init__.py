"""Distilled sets as files that others read: tensors, tables, pictures, and a place on the hub. Layer 6."""
