"""What `tools/campaign.py` does: runs that are killed, inputs that are damaged, disks that are full or read-only."""

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
"""The package of this checkout is tried, whichever is installed."""
sys.path.insert(0, str(SOURCE))
