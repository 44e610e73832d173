"""Exported: what the monitors of another process would have sent, read from the file that they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["EXPORTED", "Exported"]

#: The variable that names the file.
EXPORTED = "EXPORTED"


class Exported:
    """What has been written to the file.

    Args:
        path: Of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the items of a kind, the oldest first: "event", "span", "metrics"."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [item for item in map(json.loads, lines) if item["type"] == kind]
