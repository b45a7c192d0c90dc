"""Evaluation part by part: what it counts is what one run counts, wherever the samples lie."""

import pickle

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.backends import sharing
from loihi_deploy.errors import InputError, LoihiDeployWarning
from loihi_deploy.ir import source

N = 23


class Chunked:
    """An array that lies elsewhere, as those of zarr and h5py do; it remembers what was read of it."""

    def __init__(self, values):
        self._values, self.reads = values, []
        self.shape, self.dtype, self.chunks, self.nbytes = values.shape, values.dtype, (7,), values.nbytes

    def __getitem__(self, which):
        self.reads.append(which)
        return self._values[which]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = ld.benchmarks.inputs("nxtf-mnist", N).astype(np.float32)
    return x, rng.integers(0, 10, N)


@pytest.fixture(scope="module", params=["poisson", "auto"])
def deployment(request, data):
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    options = ld.DeployOptions(normalization="none", bias_correction_steps=0, encoder=request.param)
    return ld.deploy(graph, "loihi", data[0], options)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four samples."""
    monkeypatch.setattr(source, "PART_BYTES", 4 * 784 * 8)


def same(found, expected):
    assert found.n_correct == expected.n_correct
    assert found.n_total == expected.n_total
    assert found.counters == expected.counters
    assert found.warnings == expected.warnings
    if expected.n_correct_by_step is None:
        assert found.n_correct_by_step is None
    else:
        np.testing.assert_array_equal(found.n_correct_by_step, expected.n_correct_by_step)
    if expected.energy is None:
        assert found.energy is None
    else:
        assert found.energy.values() == expected.energy.values()
        np.testing.assert_array_equal(found.activity.busy_ns, expected.activity.busy_ns)


def test_a_mapped_file_is_read_in_parts(deployment, data, tmp_path, small_parts):
    np.save(tmp_path / "x.npy", data[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    what = {"steps": 20, "by_step": True, "energy": True, "seed": 3}
    same(deployment.evaluate(mapped, data[1], **what), deployment.evaluate(*data, **what))


def test_an_array_in_chunks_is_never_read_whole(deployment, data, small_parts):
    lazy = Chunked(data[0])
    same(deployment.evaluate(lazy, data[1], 20), deployment.evaluate(*data, 20))
    assert lazy.reads[0] == slice(0, 1)
    assert max(which.stop - which.start for which in lazy.reads) == 4
    assert sorted(which.start for which in lazy.reads if which.stop - which.start > 1) == list(range(0, N, 4))


def test_arrays_of_dask(deployment, data, small_parts):
    lazy = pytest.importorskip("dask.array").from_array(data[0], chunks=(5, -1, -1, -1))
    same(deployment.evaluate(lazy, data[1], 20), deployment.evaluate(*data, 20))


def test_arrays_of_zarr(deployment, data, small_parts):
    lazy = pytest.importorskip("zarr").array(data[0], chunks=(5, *data[0].shape[1:]))
    same(deployment.evaluate(lazy, data[1], 20), deployment.evaluate(*data, 20))


def test_what_is_wrong_is_said_of_the_samples_concerned(deployment, data, small_parts):
    x = data[0].copy()
    x[9, 3, 3] = np.nan
    with pytest.raises(InputError, match="samples 8 to 11: samples are not finite"):
        deployment.evaluate(Chunked(x), data[1], 20)
    with pytest.raises(InputError, match="labels do not fit"):
        deployment.evaluate(Chunked(x), data[1][1:], 20)
    with pytest.raises(InputError, match="samples 0 to 0: wrong shape"):
        deployment.evaluate(Chunked(x[:, :20]), data[1], 20)
    with pytest.raises(InputError, match="no sample"):
        deployment.evaluate(Chunked(x[:0]), data[1][:0], 20)
    with pytest.raises(InputError, match="read the samples into memory"):
        deployment.evaluate(Chunked(data[0]), data[1], 20, reset=False)
    assert deployment.evaluate(np.asarray(data[0]), data[1], 20, reset=False).n_total == N  # as it says


def test_losses_are_those_of_all_samples(data, small_parts):
    """A single sample far beyond the calibrated range is told of, whichever part it is in."""
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    deployment = ld.deploy(graph, "loihi", data[0], ld.DeployOptions(bias_correction_steps=0))
    x = data[0].copy()
    x[13] *= 5
    with pytest.warns(LoihiDeployWarning) as whole:
        expected = deployment.evaluate(x, data[1], 20)
    with pytest.warns(LoihiDeployWarning) as told:
        same(deployment.evaluate(Chunked(x), data[1], 20), expected)
    assert [str(each.message) for each in told] == [str(each.message) for each in whole]


def test_several_inputs_have_equally_many_samples():
    graph = ld.Graph(
        tuple(ld.ir.Input(name, (3,)) for name in "ab"),
        (),
        tuple(ld.ir.Projection(name, "out", ld.ir.Dense(np.eye(3))) for name in "ab"),
        (ld.ir.Readout("out", (3,), np.zeros(3)),),
    )
    x = np.zeros((4, 3))
    assert len(source.source_of(graph, {"a": Chunked(x), "b": x})) == 4
    with pytest.raises(InputError, match="different numbers of samples"):
        source.source_of(graph, {"a": Chunked(x), "b": x[1:]})
    with pytest.raises(InputError, match="inputs do not match"):
        source.source_of(graph, {"a": Chunked(x)})


def test_parts_add_up_in_order(deployment, data):
    """The job that workers hold, called by hand."""
    labels = deployment.check_labels(data[1], N)
    given = source.source_of(deployment.graph, data[0])
    job = sharing.PartJob(given.graph, deployment.program, ld.backends.RunOptions(20), None, False, None)
    (one, ranges), (other, _) = (job(given.part(p), labels[p], p.start) for p in (slice(0, 10), slice(10, N)))
    expected = ld.backends.evaluate(
        deployment.program, ld.ir.samples_for(deployment.graph, data[0]), labels, ld.backends.RunOptions(20)
    )
    assert (one + other).counters == expected.counters
    assert ranges == {given.graph.inputs[0].name: (data[0][:10].min(), data[0][:10].max())}


@pytest.mark.parametrize(("n", "threads"), [(1, 2), (7, 3), (60, 2), (10_000, 2), (1_000, 64)])
def test_parts_that_are_sent_cover_all_samples_and_become_smaller(n, threads, monkeypatch):
    cluster = pytest.importorskip("loihi_deploy.backends.cluster")
    monkeypatch.setattr(cluster, "n_threads", lambda client: threads)
    graph = ld.Graph((ld.ir.Input("x", (784,)),), (), (), ())
    parts = sharing._parts_sent(source.Source(graph, {"x": np.zeros((n, 784))}), None)
    sizes = [part.stop - part.start for part in parts]
    assert [part.start for part in parts] == np.cumsum([0, *sizes[:-1]]).tolist()
    assert parts[-1].stop == n
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) * 784 * 8 <= sharing.SENT_BYTES
    assert len(parts) >= min(n, 2 * threads)
    assert sum(sizes[-threads:]) <= max(threads, n // 8)


def test_samples_that_were_given_as_they_are_travel_once():
    """Not once as what was given, and once more as what the network sees."""
    graph = ld.Graph((ld.ir.Input("x", (784,)),), (), (), ())
    x = ld.ir.samples_for(graph, np.zeros((50, 784)))
    for part in (x, x.take(slice(10, 40)), x.take(np.arange(30)), x.take_frames(1)):
        again = pickle.loads(pickle.dumps(part))
        assert len(pickle.dumps(part)) < 1.1 * part.arrays["x"].nbytes
        np.testing.assert_array_equal(again.given["x"], part.arrays["x"])
