"""Layer 2: where image sets come from: the named sets, and the file formats that are read."""
