"""Work shared out to the processes of a real cluster over loopback."""

import asyncio
import os
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import stage_runs
from loihi_deploy.backends import sharing
from loihi_deploy.errors import BackendError, InputError

from .test_sharing import same

distributed = pytest.importorskip("distributed")
array = pytest.importorskip("dask.array")
cluster = pytest.importorskip("loihi_deploy.backends.cluster")

N = 60
pytestmark = [
    # Of Dask, when workers end while it writes to them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def client():
    how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    how["scheduler_kwargs"] = {"allowed_failures": 1}
    with distributed.LocalCluster(**how) as workers, distributed.Client(workers) as made:
        yield made


@pytest.fixture(scope="module")
def data():
    x = ld.benchmarks.inputs("nxtf-mnist", N).astype(np.float32)
    return x, np.random.default_rng(1).integers(0, 10, N)


@pytest.fixture(scope="module")
def deployment(data):
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    options = ld.DeployOptions(normalization="none", bias_correction_steps=0, encoder="poisson")
    return ld.deploy(graph, "loihi", data[0], options)


def test_verification_is_that_of_one_process(client, data, monkeypatch):
    """On samples of which the last part is smaller, with settings that are tried because decisions are lost."""
    x = ld.benchmarks.inputs("nxtf-mnist", 130).astype(np.float32)
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    options = ld.DeployOptions(bias_correction_steps=0, encoder="poisson", target_rate=100.0)
    deployment = ld.deploy(graph, "loihi", x, options)
    y = np.random.default_rng(2).integers(0, 10, len(x))
    alone = deployment.verify(x, y, 10, reference_samples=0)
    assert any("loses most" in remedy for remedy in alone.remedies)
    shown = []
    monkeypatch.setattr(stage_runs, "progress_bar", lambda progress, n: nullcontext(shown.append))
    assert deployment.verify(x, y, 10, reference_samples=0, client=client) == alone
    assert shown == [100, 30]


def pids(client):
    return set(client.run(os.getpid).values())


def held(client):
    """Functions of ours that workers still hold."""
    names = client.run(lambda dask_worker: [n for n in dask_worker.plugins if n.startswith("loihi-deploy")])
    return [name for each in names.values() for name in each]


def test_counts_are_those_of_one_process(client, deployment, data):
    what = {"steps": 20, "by_step": True, "energy": True, "seed": 5}
    same(deployment.evaluate(*data, **what, client=client), deployment.evaluate(*data, **what))
    assert held(client) == []


def test_dask_arrays_reach_the_workers_by_themselves(client, deployment, data):
    lazy = array.from_array(data[0], chunks=(17, -1, -1, -1))
    same(deployment.evaluate(lazy, data[1], 20, client=client), deployment.evaluate(*data, 20))
    same(deployment.evaluate({"input": lazy}, data[1], 20, client=client), deployment.evaluate(*data, 20))


@dataclass(frozen=True)
class Dying:
    """Kills its worker once, in the middle of the work."""

    job: object
    marker: Path

    def __call__(self, part, labels, first):
        if first >= N // 2 and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.job(part, labels, first)


def test_a_worker_killed_in_the_middle_changes_nothing(client, deployment, data, tmp_path, monkeypatch):
    marker, whole = tmp_path / "killed", sharing.PartJob
    monkeypatch.setattr(sharing, "PartJob", lambda *args: Dying(whole(*args), marker))
    before = pids(client)
    found = deployment.evaluate(*data, 20, by_step=True, energy=True, client=client)
    same(found, deployment.evaluate(*data, 20, by_step=True, energy=True))
    assert int(marker.read_text()) in before
    client.wait_for_workers(2, timeout=60)
    assert int(marker.read_text()) not in pids(client)


class Tallying:
    """Notes each process that it is unpacked in."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}-{len(list(self.folder.iterdir()))}").touch()

    def __call__(self, number):
        return os.getpid()


def test_what_is_needed_is_sent_to_each_worker_once(client, tmp_path):
    workers = set(cluster.results(client, Tallying(tmp_path), ((number,) for number in range(40))))
    assert workers == pids(client)
    unpacked = [int(path.name.split("-")[0]) for path in tmp_path.iterdir()]
    assert sorted(pid for pid in unpacked if pid in workers) == sorted(workers)


def test_the_first_part_that_fails_is_told_of(client, deployment, data):
    x = data[0].copy()
    x[[20, 50], 3, 3] = np.nan
    with pytest.raises(InputError, match="samples are not finite") as bad:
        deployment.evaluate(x, data[1], 20, client=client)
    first, last = map(int, bad.value.problems[0].where.split("samples ")[1].split(" to "))
    assert first <= 20 <= last
    assert held(client) == []


def _dies(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_kills_every_worker_ends(client):
    with pytest.raises(BackendError, match=r"several workers died.*Give the workers more memory"):
        list(cluster.results(client, _dies, [(0,)]))
    client.wait_for_workers(2, timeout=60)
    assert list(cluster.results(client, abs, [(-2,), (3,)])) == [2, 3]


@pytest.mark.follows(
    "Start workers: dask worker ADDRESS, or LocalCluster(n_workers=2)", "Make it without asynchronous=True"
)
def test_clients_that_cannot_be_used(client, deployment, data, monkeypatch):
    with pytest.raises(InputError, match="not a client"):
        deployment.evaluate(*data, 20, client="tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="Leave client out"):
        deployment.evaluate(*data, 20, backend="hardware", client=client)

    async def waiting_for_nothing():
        address = client.scheduler.address
        async with distributed.Client(address, asynchronous=True, set_as_default=False) as other:
            with pytest.raises(InputError, match="waits for nothing"):
                cluster.n_threads(other)

    asyncio.run(waiting_for_nothing())
    assert cluster.n_threads(client) == 2
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as nobody,
        distributed.Client(nobody, set_as_default=False) as alone,
    ):
        monkeypatch.setattr(cluster, "PATIENCE", 0.2)
        with pytest.raises(BackendError, match="no worker has come"):
            deployment.evaluate(*data, 20, client=alone)
        nobody.scale(1)
        monkeypatch.setattr(cluster, "PATIENCE", 60.0)
        same(deployment.evaluate(*data, 20, client=alone), deployment.evaluate(*data, 20))
