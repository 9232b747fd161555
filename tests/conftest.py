"""Shared settings of the suite."""

from __future__ import annotations

import os

# Linear algebra threads of a test would compete with each other; results do not depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
