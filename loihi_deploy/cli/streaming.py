"""Frames from a stream of lines, each answered in a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from loihi_deploy.errors import InputError

if TYPE_CHECKING:
    from loihi_deploy.backends.stream import StreamAnswer
    from loihi_deploy.deployment import Deployment


def answer_frames(
    deployment: Deployment, lines: Iterable[str], say: Callable[[str], Any], steps_per_frame: int | None
) -> None:
    """Present a frame for each line, and say an answer to each; an empty line, and the end, finish a sequence.

    Parameters
    ----------
    deployment : Deployment
    lines : iterable of str
        Numbers with commas or blanks between them, or a JSON array, or object of arrays by input.
    say : callable
        Called with a line of JSON for each frame: 'frame' (the one that is answered, or null), 'decision', 'outputs',
        'late' (in steps); and with one for each end, which has 'real_time_factor', too.
    steps_per_frame : int, optional
    """
    shape = deployment.graph.origins[0].shape
    with deployment.stream(steps_per_frame) as stream:
        any_frame = False
        for number, line in enumerate(_decoded(lines), 1):
            if line.strip():
                any_frame = True
                say(_text(stream.step(_frame(line, number, shape))))
            elif any_frame:
                say(_text(stream.finish(), real_time_factor=round(stream.real_time_factor, 3)))
                stream.reset()
                any_frame = False
        if any_frame:
            say(_text(stream.finish(), real_time_factor=round(stream.real_time_factor, 3)))


def _decoded(lines: Iterable[str]) -> Iterator[str]:
    """The lines, or an error where they are no text."""
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise InputError.single(
            "not text", "standard input", str(error), remedy="Give numbers with commas, or JSON"
        ) from error


def _frame(line: str, number: int, shape: tuple[int, ...]) -> Any:
    try:
        if line.lstrip()[0] in "[{":
            values = json.loads(line)
            return values if isinstance(values, dict) else np.asarray(values, np.float64)
        flat = np.array(line.replace(",", " ").split(), np.float64)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError.single(
            "not a frame", f"line {number}", line.strip()[:60], remedy="Give numbers with commas, or JSON"
        ) from error
    return flat.reshape(shape) if flat.size == int(np.prod(shape)) else flat


def _text(answer: StreamAnswer, **more: float) -> str:
    outputs = None if answer.outputs is None else answer.outputs.tolist()
    values = {"frame": answer.frame, "decision": answer.decision, "outputs": outputs, "late": answer.late}
    return json.dumps({**values, **more})
