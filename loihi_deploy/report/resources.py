"""What the fullest core uses of each limit, and which of them binds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def resource_rows(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each limit of a core: 'what', 'used', 'limit', 'share' and whether it is the 'binding' one.

    Parameters
    ----------
    mapping : dict
        From ``Mapping.values()``.
    """
    rows = []
    for name, limit in mapping["limits"].items():
        used = limit - mapping["free"][name]
        share = used / limit if limit else float(used > 0)
        rows.append({"what": name.replace("_", " "), "used": used, "limit": limit, "share": share})
    most = max((row["share"] for row in rows), default=0.0)
    first = next((row for row in rows if row["share"] == most), None)
    return [{**row, "binding": row is first} for row in rows]
