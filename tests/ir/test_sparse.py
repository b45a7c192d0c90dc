"""Sparse matrices in numpy alone, beside scipy's."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.ir import Dense, Sparse, linear


@pytest.fixture(autouse=True)
def little_room(monkeypatch):
    """So that products are computed in many pieces."""
    monkeypatch.setattr(linear, "PRODUCTS_AT_ONCE", 20)


@st.composite
def pairs(draw, shape=None, dtype=np.float64):
    """Entries as a `Sparse` and as scipy's matrix; whole numbers, so that sums are exact in any order."""
    shape = shape or draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    n = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, columns = rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)
    values = rng.integers(-3, 4, n).astype(dtype)
    theirs = scipy.sparse.csr_matrix((values, (rows, columns)), shape)
    theirs.sum_duplicates()
    return Sparse.from_entries(rows, columns, values, shape), theirs


@given(pairs() | pairs(dtype=np.int8))
def test_entries_for_one_place_are_added_up(pair):
    ours, theirs = pair
    assert (ours.indptr == theirs.indptr).all()
    assert (ours.indices == theirs.indices).all()
    assert (ours.data == theirs.data).all()
    assert ours.data.dtype == theirs.dtype
    assert (ours.toarray() == theirs.toarray()).all()
    assert ours.without_zeros() == Dense(theirs.toarray()).csr()


@given(pairs(), st.integers(0, 9), st.sampled_from([np.float32, np.float64, np.int64]))
def test_application(pair, n, dtype):
    ours, theirs = pair
    x = np.random.default_rng(n).integers(-5, 6, (n, ours.in_size)).astype(dtype)
    found = ours.apply(x)
    assert found.dtype == dtype
    assert found.shape == (n, ours.out_size)
    assert (found == x @ theirs.toarray().T.astype(dtype)).all()


@given(pairs(), st.data())
def test_rows_and_columns(pair, data):
    ours, theirs = pair
    rows = np.array(data.draw(st.lists(st.integers(0, ours.out_size - 1), max_size=8)), dtype=np.int64)
    assert (ours.take_rows(rows).toarray() == theirs.toarray()[rows]).all()
    assert (ours.transposed().toarray() == theirs.toarray().T).all()


@given(st.data())
def test_products_and_sums(data):
    n_out, n_between, n_in = (data.draw(st.integers(1, 12)) for _ in range(3))
    outer, their_outer = data.draw(pairs((n_out, n_between)))
    inner, their_inner = data.draw(pairs((n_between, n_in)))
    product = (their_outer @ their_inner).toarray()
    for first in (outer, Dense(outer.toarray())):
        for second in (inner, Dense(inner.toarray())):
            assert (linear.compose(first, second).csr().toarray() == product).all()
    other, their_other = data.draw(pairs((n_out, n_between)))
    for addend in (other, Dense(other.toarray())):
        total = linear.add(outer, addend).csr().toarray()
        assert (total == (their_outer + their_other).toarray()).all()
