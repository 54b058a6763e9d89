"""Puts the repository root first on the path, so that `envs` and `trainer` are these packages and no others."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
