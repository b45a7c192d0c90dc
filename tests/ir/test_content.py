"""Equality by content, and arrays that cannot be changed."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from loihi_deploy.ir import Dense
from loihi_deploy.ir.content import Content, frozen_array


@dataclass(frozen=True, eq=False)
class Value(Content):
    """Something of everything."""

    item: object
    note: str = field(default="", metadata={"compare": False})


DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    None,
    (1,),
    (1, None),
    ((1,),),
    {"a": 1},
    {"a": 2},
    np.array([1]),
    np.array([1], dtype=np.int8),
    np.array([[1]]),
    np.array([2]),
    Dense(np.eye(1)),
]


def test_different_content_differs():
    digests = {Value(item).digest for item in DIFFERENT}
    assert len(digests) == len(DIFFERENT)


def test_equal_content_is_equal_and_hashes_equal():
    for item in DIFFERENT:
        assert Value(item, "a") == Value(item, "b")
        assert hash(Value(item)) == hash(Value(item))
    assert Value({"a": 1, "b": 2}) == Value({"b": 2, "a": 1})


def test_arrays_are_read_only_copies():
    given = np.ones((2, 2))
    dense = Dense(given)
    given[0, 0] = 5
    assert dense.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        dense.weights[0, 0] = 3


def test_a_frozen_array_is_not_copied_again():
    frozen = frozen_array([1, 2], np.int32)
    assert frozen_array(frozen, np.int32) is frozen
    assert frozen_array(frozen, np.int64) is not frozen


def test_pickling_keeps_arrays_frozen():
    dense = Dense(np.eye(3))
    copy = pickle.loads(pickle.dumps(dense))
    assert copy == dense
    assert not copy.weights.flags.writeable
