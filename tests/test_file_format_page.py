"""docs/file_format.md names every type and field that a file can hold."""

import re
from dataclasses import fields
from pathlib import Path

from loihi_deploy.artifact import VERSION
from loihi_deploy.deployment import SAVED_TYPES

PAGE = Path(__file__).parents[1] / "docs" / "file_format.md"


def test_every_type_and_field_is_named():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M))
    for kind in SAVED_TYPES:
        assert kind.__name__ in rows
        if kind.__name__ not in ("Arithmetic", "DeployOptions"):
            assert re.findall(r"`(\w+)`", rows[kind.__name__]) == [field.name for field in fields(kind)]


def test_every_version_is_described():
    text = PAGE.read_text(encoding="utf-8").split("| version | what changed |")[1]
    assert re.findall(r"^\| (\d+) \|", text, flags=re.M) == [str(n) for n in range(1, VERSION + 1)]
