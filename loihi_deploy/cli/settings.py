"""A TOML file with what a command was told, so that a deployment can be made again; keys are the command's options."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli.group import did_you_mean
from loihi_deploy.errors import InputError, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_KEPT = ("output", "options_file", "write_options", "show_cores", "as_json", "verbose", "help")
"""Parameters of a command that say what to show and where, not what to make."""


def kept(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters of a command that a file may hold, by name."""
    return {str(param.name): param for param in command.params if param.name not in NOT_KEPT}


def from_file(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Take the command's defaults from a file; for an eager option. What is given on the command line counts more.

    Raises
    ------
    InputError
        If the file cannot be read, or holds what the command does not take: everything found.
    """
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError.single(
            f"cannot be read: {reason}", str(path), remedy="Give a TOML file such as --write-options makes"
        ) from error
    known = kept(ctx.command)
    problems = [
        Problem("unknown option", f"{path}: {key}", remedy=did_you_mean(key, known).strip())
        for key in content
        if key not in known
    ]
    defaults = {}
    for key, value in content.items():
        if key in known:
            try:
                defaults[key] = _texts(value, bool(getattr(known[key], "multiple", False)))
            except TypeError:
                problems.append(Problem("not a value that this option takes", f"{path}: {key}", str(value)))
    if problems:
        raise InputError("The options cannot be used", problems)
    ctx.default_map = defaults
    return path


def _texts(value: Any, multiple: bool) -> Any:
    """A value as it would stand on the command line; several of them where an option may be given several times."""
    if not multiple:
        if isinstance(value, (dict, list)):
            raise TypeError
        return str(value)
    if isinstance(value, dict):
        value = [f"{name}={_texts(item, False)}" for name, item in value.items()]
    return [_texts(item, False) for item in (value if isinstance(value, list) else [value])]


def as_toml(command: click.Command, values: Mapping[str, Any]) -> str:
    """What a command was told, as the text of a file for --options; unset options are left out."""
    lines = [
        f"# loihi-deploy {command.name} --options THIS_FILE; paths are as seen from where the command runs"
    ]
    for name in kept(command):
        value = values.get(name)
        if value is not None and value != ():
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple) and isinstance(value[0], tuple):  # pairs of NAME=VALUE
        named = dict(value)  # of a name that was given twice, the last counts
        if "" in named:
            return _toml(named[""])
        return "{" + ", ".join(f"{_toml(name)} = {_toml(_plain(item))}" for name, item in named.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    return "x".join(map(str, value)) if isinstance(value, tuple) else value
