"""Layer 1: pure tensor functions. Device and dtype come from the tensors; no config object enters.

One legend for the letters in shapes:
    B  images in a batch            K  classes
    C  channels                     M  images per class (ipc)
    H, W  height and width          D  length of a statistic
Real and synthetic are suffixes: `means_real`, `means_syn`.
"""
