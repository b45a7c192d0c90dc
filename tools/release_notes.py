"""What a tag publishes: checks it against the version and the changelog, and prints that version's changes.

``python tools/release_notes.py v0.1.0``; ends with status 1 and a reason where they do not agree. Needs Python alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version_in(text: str, pattern: str) -> str:
    """The version that the first line of this pattern names; '' where there is none."""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def versions(root: Path) -> dict[str, str]:
    """The version by the file that names it."""
    patterns = {"loihi_deploy/__init__.py": r'^__version__ = "(.+)"$', "CITATION.cff": r"^version: (.+)$"}
    return {
        name: version_in((root / name).read_text(encoding="utf-8"), pattern)
        for name, pattern in patterns.items()
    }


def changes(text: str, version: str) -> str:
    """The section ``## 0.1.0 - 2026-01-31`` of a changelog, without its heading; '' where there is none."""
    found = re.search(
        rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def problems(tag: str, root: Path) -> list[str]:
    """What keeps a tag from being published."""
    version = tag.removeprefix("v")
    found = [
        f"{name} says {other or 'no version'}, the tag says {version}"
        for name, other in versions(root).items()
        if other != version
    ]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not changes(changelog, version):
        found.append(f"CHANGELOG.md has no section '## {version} - YEAR-MONTH-DAY' with changes in it")
    return found


def main(tag: str, root: Path = ROOT) -> int:
    """Print the changes of the tag's version, or what is wrong with it; the exit status."""
    found = problems(tag, root)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(changes((root / "CHANGELOG.md").read_text(encoding="utf-8"), tag.removeprefix("v")))
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/release_notes.py TAG")
    sys.exit(main(sys.argv[1]))
