"""What lies in a core is what the program says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping.layout import _grid, as_convolution, axis_margin, bundles, grids
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice, Wiring
from tests.mapping.networks import NOTHING, compartments, convolutions, sparse, weights

LIMITS = load_board("loihi").chip.core


def one_projection(transform, pre_shape, post_shape):
    rng = np.random.default_rng(0)
    return Program(
        NOTHING,
        (SpikeSource("pre", pre_shape),),
        (compartments(rng, "post", post_shape),),
        (Synapses("pre", "post", transform, 7),),
        NOTHING,
    )


def matrix_of(bundles_, n_compartments, n_in):
    """The matrix that axons, atoms, bases, indices and weights of a core amount to; no synapse twice."""
    matrix = np.zeros((n_compartments, n_in), int)
    filled = np.zeros(matrix.shape, bool)
    for bundle in bundles_:
        weights_, indices = bundle.make_sets()
        assert [w.shape for w in weights_] == [i.shape for i in indices]
        assert [w.shape for w in weights_] == [(bundle.n_atoms, n) for n in bundle.targets]
        assert max(i.max() for i in indices) == bundle.max_index
        assert min(i.min() for i in indices) >= 0
        for neurons, base, used in zip(bundle.neurons, bundle.base_of, bundle.set_of, strict=True):
            assert 0 <= base <= LIMITS.max_compartment_base
            for atom, neuron in enumerate(neurons):
                target = base + indices[used][atom]
                assert not filled[target, neuron].any()
                filled[target, neuron] = True
                matrix[target, neuron] = weights_[used][atom]
    return matrix


def boxes(draw, grid):
    start = tuple(draw(st.integers(0, n - 1)) for n in grid)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, grid, strict=True))
    return start, stop


def check(program, piece, wiring):
    transform = program.synapses[0].transform
    found = matrix_of(
        bundles(program, piece, wiring, LIMITS), piece.offset + piece.n_compartments, transform.in_size
    )
    rows = piece.neurons(grids(program)["post"])
    np.testing.assert_array_equal(found[piece.compartments()], transform.csr().toarray()[rows])
    return found


@given(convolutions(), st.data())
def test_pixels_of_a_convolution(conv, data):
    program = one_projection(conv, conv.in_shape, conv.out_shape)
    start, stop = boxes(data.draw, conv.out_shape)
    channels = stop[2] - start[2]
    piece = Slice(
        "post",
        start,
        stop,
        data.draw(st.sampled_from([0, 1, 77, 300])),
        data.draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0])),
        (data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))),
    )
    wiring = Wiring(0, "pixels", data.draw(st.sampled_from([POP16, POP32])), data.draw(st.integers(1, 9)))
    check(program, piece, wiring)
    if wiring.axon == POP16:
        assert all((b.base_of % 4 == 0).all() for b in bundles(program, piece, wiring, LIMITS))


@given(convolutions(), st.data())
def test_onto_a_single_position_no_index_is_needed(conv, data):
    conv = replace(
        conv,
        groups=1,
        kernel=weights(np.random.default_rng(0), *conv.kernel.shape[:2], conv.in_shape[2], conv.out_shape[2]),
    )
    program = one_projection(conv, conv.in_shape, conv.out_shape)
    start, stop = boxes(data.draw, conv.out_shape)
    stop = (start[0] + 1, start[1] + 1, stop[2])
    piece = Slice("post", start, stop, 4 * data.draw(st.integers(0, 60)))
    wiring = Wiring(
        0, "pixels", data.draw(st.sampled_from([POP16, POP32])), data.draw(st.integers(1, 9)), True
    )
    check(program, piece, wiring)
    for bundle in bundles(program, piece, wiring, LIMITS):
        assert bundle.compressed
        for indices, n in zip(bundle.make_sets()[1], bundle.targets, strict=True):
            assert (indices == np.arange(n)).all()


@given(convolutions(), st.data())
def test_without_margin_nothing_but_the_slice_is_reached(conv, data):
    program = one_projection(conv, conv.in_shape, conv.out_shape)
    start, stop = boxes(data.draw, conv.out_shape)
    piece = Slice("post", start, stop, 40)
    found = check(program, piece, Wiring(0, "pixels", POP32, 1024))
    assert not found[:40].any()


@given(convolutions(), st.data())
def test_with_enough_margin_every_pixel_sees_the_whole_kernel(conv, data):
    program = one_projection(conv, conv.in_shape, conv.out_shape)
    size = [data.draw(st.integers(1, n)) for n in conv.out_shape[:2]]
    margin = tuple(
        axis_margin(
            conv.in_shape[k],
            conv.kernel.shape[k],
            conv.strides[k],
            conv.padding[k],
            conv.out_shape[k],
            size[k],
        )
        for k in (0, 1)
    )
    start = tuple(
        data.draw(st.sampled_from(range(0, n, part))) for n, part in zip(conv.out_shape, size, strict=False)
    )
    stop = tuple(min(a + part, n) for a, part, n in zip(start, size, conv.out_shape, strict=False))
    piece = Slice("post", (*start, 0), (*stop, conv.out_shape[2]), 0, 1, margin)
    check(program, piece, Wiring(0, "pixels", POP32, 1024))
    if (piece.plane[0] * piece.plane[1]) <= 256:
        for bundle in bundles(program, piece, Wiring(0, "pixels", POP32, 1024), LIMITS):
            assert len(bundle.targets) <= conv.strides[0] * conv.strides[1]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("compressed", [True, False])
@given(data=st.data())
def test_rows_of_a_matrix(kind, compressed, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    grid = (2, 3, 4)
    transform = Dense(weights(rng, 24, 10)) if kind == "dense" else sparse(rng, 24, 10)
    program = one_projection(transform, (10,), grid)
    start, stop = boxes(data.draw, grid)
    margin = (0, 0) if compressed else data.draw(st.sampled_from([(0, 0), (1, 2)]))
    piece = Slice("post", start, stop, data.draw(st.sampled_from([0, 200, 700])), 1, margin)
    check(program, piece, Wiring(0, "rows", DISCRETE, 1, compressed))


def test_a_convolution_onto_another_grid_goes_by_rows():
    rng = np.random.default_rng(0)
    first = np.ones((1, 1, 3, 4), np.int8)
    from loihi_deploy.ir import Conv2D

    into = Conv2D(first, (1, 1), (0, 0), (2, 2, 3), (2, 2, 4))
    other = Conv2D(
        weights(rng, 2, 1, 6, 8), (1, 1), (0, 0), (2, 2, 6), (1, 2, 8)
    )  # 16 neurons, seen as 1 x 2 x 8
    program = Program(
        NOTHING,
        (SpikeSource("in", (2, 2, 3)), SpikeSource("more", (2, 2, 6))),
        (compartments(rng, "post", (2, 2, 4)),),
        (Synapses("more", "post", other, 6), Synapses("in", "post", into, 6)),
        NOTHING,
    )
    assert grids(program)["post"] == (2, 2, 4)
    assert as_convolution(program, 0) is None
    piece = Slice("post", (0, 1, 0), (2, 2, 3))
    found = matrix_of(bundles(program, piece, Wiring(0, "rows"), LIMITS), 6, 24)
    np.testing.assert_array_equal(
        found[piece.compartments()], other.csr().toarray()[piece.neurons((2, 2, 4))]
    )


def test_slices_know_their_neurons():
    piece = Slice("p", (1, 0, 2), (3, 2, 6), 10, 2)
    grid = (4, 3, 7)
    flat = np.arange(4 * 3 * 7).reshape(grid)[1:3, 0:2, 2:6]
    np.testing.assert_array_equal(np.sort(piece.neurons(grid)), np.sort(flat.reshape(-1)))
    # compartment 10 + (c // 2 * 4 + y * 2 + x) * 2 + c % 2
    order = dict(zip(piece.compartments().tolist(), piece.neurons(grid).tolist(), strict=True))
    assert order[10 + (1 * 4 + 1 * 2 + 0) * 2 + 1] == flat[1, 0, 3]


def test_margins_lie_around_the_planes():
    piece = Slice("p", (0, 0, 0), (2, 3, 2), 5, 1, (1, 2))
    assert piece.plane == (3, 5)
    assert piece.lead == 1 * 5 + 2
    assert piece.n_compartments == 7 + 2 * 15
    assert piece.compartments().tolist() == [5 + 7 + k for k in (0, 1, 2, 5, 6, 7, 15, 16, 17, 20, 21, 22)]


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((), (1, 1, 1)),
        ((5,), (1, 1, 5)),
        ((4, 5), (1, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((2, 3, 4, 5), (6, 4, 5)),
        ((2, 2, 3, 4, 5), (12, 4, 5)),
    ],
)
def test_a_shape_is_seen_as_rows_columns_and_channels(shape, grid):
    assert _grid(shape) == grid
