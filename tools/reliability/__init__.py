"""What `tools/campaign.py` does: runs that are killed, inputs that are damaged, disks that are full or read-only."""
