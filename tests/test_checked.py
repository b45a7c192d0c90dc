"""Arguments are what their annotations say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from loihi_deploy.checked import Range, checked, expected, fits
from loihi_deploy.errors import InputError


@pytest.mark.parametrize(
    ("kind", "fitting", "unfit"),
    [
        (Any, [None, object()], []),
        (bool, [True, np.True_], [1, "True", None]),
        (int, [1, -1, 10**30, np.int8(1)], [True, 1.0, "1", None, np.array(1)]),
        (float, [1, 1.0, np.float32(1), float("nan")], [True, "1", 1j, None, np.array(1.0)]),
        (Annotated[float, Range(0, 1)], [0, 1, 0.5], [-1, 2, float("nan"), float("inf"), 10**400, "1", None]),
        (str | None, ["", None], [b"", 1, Path()]),
        (Literal["a", "b"], ["a"], [1, None, ["a"]]),
        (Iterable[str], [["a"], (), {"a"}, iter([1])], ["a", b"a", [1], None, 1, np.array(1)]),
        (Sequence[int], [[1], (), range(2)], [[1.5], "ab", None, {1}]),
        (Mapping[str, float], [{}, {"a": 1}], [{"a": "b"}, {1: 1.0}, [], None]),
        (NDArray[Any], [np.zeros(3)], [[1], np.array(["a"]), None]),
        (Path, [Path()], ["", None]),
        (None, [None], [0]),
    ],
)
def test_what_fits(kind, fitting, unfit):
    assert [value for value in fitting if not fits(value, kind)] == []
    assert [value for value in unfit if fits(value, kind)] == []
    assert expected(kind)


def test_every_argument_is_named_at_once_and_the_function_does_not_run():
    @checked
    def function(a: int, b: float | Mapping[str, float] = 1.0, *, c: str = "") -> str:
        """Its docstring."""
        return f"{a} {b} {c}"

    assert function(1, c="x") == "1 1.0 x"
    assert function.__doc__ == "Its docstring."
    with pytest.raises(InputError) as raised:
        function(1.5, {"x": "y"}, c=3)
    assert [(problem.where, problem.value, problem.limit) for problem in raised.value.problems] == [
        ("a", "1.5", "whole number"),
        ("b['x']", "'y'", "number"),
        ("c", "3", "text"),
    ]
    with pytest.raises(TypeError, match="unexpected keyword"):
        function(1, d=3)
