"""Training evidence: the same small tasks, data and readouts, with layers that are initialised differently."""

from __future__ import annotations

__all__ = ["initialisations", "runs", "studies", "tables", "tasks", "trainer"]
