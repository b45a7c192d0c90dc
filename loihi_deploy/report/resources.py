"""What the fullest core uses of each limit, and which of them binds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def resource_rows(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each limit of a core: 'what', 'used', 'limit' and 'share' of the fullest one, whether it is 'exceeded'.

    'needed' are the cores that all layers need for it together, whatever the plan, None where that is not bounded; most
    are needed for the 'binding' one.

    Parameters
    ----------
    mapping : dict
        From ``Mapping.values()``.
    """
    needed: dict[str, float] = {}
    for population in mapping["populations"]:
        for name, share in population["bounds"].items():
            needed[name] = needed.get(name, 0.0) + share
    binding = max(needed, key=lambda name: needed[name], default="")
    rows = []
    for name, limit in mapping["limits"].items():
        used = limit - mapping["free"][name]
        share = used / limit if limit else float(used > 0)
        rows.append(
            {
                "what": name.replace("_", " "),
                "used": used,
                "limit": limit,
                "share": share,
                "exceeded": used > limit,
                "needed": needed.get(name),
                "binding": name == binding,
            }
        )
    return rows
