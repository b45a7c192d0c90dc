"""Random programs: small, and of every kind."""

import numpy as np
from hypothesis import strategies as st

from loihi_deploy.ir import Conv2D, Dense, Graph, Link
from loihi_deploy.ir.program import Compartments, Noise, Program, SpikeSource, Synapses

NO_GRAPH = Graph((), (), ())


def mantissas(rng, shape, largest=127):
    return rng.integers(-largest, largest + 1, shape).astype(np.int8)


def random_transform(rng, pre, post, kind, largest=127):
    """A transform between nodes of the given shapes; a convolution where both are images."""
    n_in, n_out = int(np.prod(pre)), int(np.prod(post))
    if kind == "conv" and len(pre) == len(post) == 3:
        groups = int(rng.choice([g for g in (1, 2, 3) if pre[2] % g == 0 and post[2] % g == 0]))
        kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
        strides = tuple(int(n) for n in rng.integers(1, 3, 2))
        padding = tuple(int(rng.integers(0, n)) for n in kernel)
        weights = mantissas(rng, (*kernel, pre[2] // groups, post[2]), largest)
        return Conv2D(weights, strides, padding, pre, post, groups)
    if kind == "sparse":
        weights = mantissas(rng, (n_out, n_in), largest) * (rng.random((n_out, n_in)) < 0.2)
        return Dense(weights.astype(np.int8)).csr()
    return Dense(mantissas(rng, (n_out, n_in), largest))


@st.composite
def programs(draw, delays=False):
    """Programs with up to two sources, one to four populations, any projections, recurrent ones included.

    With `delays` synapses may hold spikes back, for as long for all or for each sender.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = st.one_of(
        st.tuples(st.integers(1, 300)),
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 3, 6])),
    )
    sources = [SpikeSource(f"s{i}", draw(shapes)) for i in range(draw(st.integers(0, 2)))]
    populations = []
    for i in range(draw(st.integers(1, 4))):
        shape = draw(shapes)
        size = int(np.prod(shape))
        noise = Noise(draw(st.integers(1, 23)), draw(st.integers(-3, 3)), draw(st.booleans()))
        populations.append(
            Compartments(
                f"p{i}",
                shape,
                decay_u=draw(st.sampled_from([0, 40, 741, 2588, 4094, 4095])),
                decay_v=draw(st.sampled_from([0, 0, 200, 4095])),
                threshold=64 * draw(st.sampled_from([1, 1000, 10000, 100000, 2**17 - 1])),
                bias=rng.integers(-4095, 4096, size) << draw(st.integers(0, 7)) if draw(st.booleans()) else 0,
                refractory=draw(st.sampled_from([1, 1, 2, 5, 63])),
                v_min=-(2 ** draw(st.sampled_from([0, 0, 10, 23, 31]))) + 1,
                v_max=2 ** draw(st.sampled_from([9, 21, 23, 23])) - 1,
                noise=draw(st.sampled_from([None, None, None, noise])),
                initial_voltage=rng.integers(0, 5000, size) if draw(st.booleans()) else None,
            )
        )
    nodes = [*sources, *populations]
    synapses = []
    for post in populations:
        for pre in nodes:
            if draw(st.booleans()):
                kind = draw(st.sampled_from(["dense", "sparse", "conv", "conv"]))
                largest = draw(st.sampled_from([1, 20, 127]))
                transform = random_transform(rng, pre.shape, post.shape, kind, largest)
                late = None
                if delays and draw(st.booleans()):
                    late = draw(st.integers(0, 40))
                    if draw(st.booleans()):  # of senders that share no weights
                        late, transform = rng.choice([0, late // 2, late], pre.size), transform.csr()
                shift = draw(st.sampled_from([6, 7]))
                synapses.append(Synapses(pre.name, post.name, transform, shift, delays=late))
    links = tuple(Link(s.name, "to_chip", draw(st.integers(0, 3))) for s in sources if draw(st.booleans()))
    return Program(NO_GRAPH, tuple(sources), tuple(populations), tuple(synapses), NO_GRAPH, links)


def random_spikes(program, n, steps, rate, seed):
    rng = np.random.default_rng(seed)
    return {source.name: rng.random((n, steps, source.size)) < rate for source in program.sources}
