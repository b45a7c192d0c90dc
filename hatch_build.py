"""What a package index shows of the project: README.md, whose links and pictures are found from there, too."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def with_addresses(text: str, repository: str) -> str:
    """A page of Markdown with addresses in the repository in place of paths: of pictures the files themselves."""
    return RELATIVE.sub(
        lambda link: f"{link[1]}{link[2]}({repository}/{'raw' if link[1] else 'blob'}/main/{link[3]})", text
    )


class Readme(MetadataHookInterface):
    """Gives the project's readme to what is built."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """See the name of the class."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = with_addresses(text, metadata["urls"]["Repository"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
