"""The command line: parse, call, print. Exit status 0 on success, 1 where a check fails, 2 on bad input.

130 after Ctrl-C and 141 where nobody reads the output any more, as shells know them.
"""

# importing these registers the commands
from loihi_deploy.cli import (
    boarding,
    compiling,
    costs,
    exploring,
    exporting,
    gating,
    presenting,
    reports,
    showing,
)
from loihi_deploy.cli.group import commands, main

__all__ = [
    "boarding",
    "commands",
    "compiling",
    "costs",
    "exploring",
    "exporting",
    "gating",
    "main",
    "presenting",
    "reports",
    "showing",
]
