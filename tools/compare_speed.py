"""Speed beside that of another commit: ``make compare-speed ARGS=main~20``.

Both run the same saved networks on the same samples, taking turns run by run in processes of their own, since this and
every shared machine changes its speed from minute to minute. Only what every version has is used: the commands, `load`
and `Deployment.run`. A ratio above 1 says that this tree is faster. Outputs must be equal. Ends with status 1 where a
case is slower beyond the tolerance, by the median over the turns both of time and of processor time.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
CASES = {
    "cifar10-convnet": (16, 256),
    "mnist-convnet": (64, 1),
    "nxtf-mnist": (64,),
    "recurrent-lif": (1,),
}
"""Networks and batches; those of `loihi-deploy bench`."""
SAMPLE_STEPS = 12_000
"""Steps of all samples between two looks at the clock, at least: a run of 100 steps of one sample takes 1 ms."""
CLI = "import sys; from loihi_deploy.cli import main; sys.exit(main())"
WORKER = """
import sys, time, numpy as np, loihi_deploy as ld
deployment, x = ld.load(sys.argv[1]), np.load(sys.argv[2])
steps, runs, outputs = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
np.save(outputs, deployment.run(x, steps=steps).outputs)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter(), time.process_time()
    for _ in range(runs):
        deployment.run(x, steps=steps)
    print((time.perf_counter() - start[0]) / runs, (time.process_time() - start[1]) / runs, flush=True)
"""


def environment(tree: Path) -> dict[str, str]:
    """Of a process that takes the package from `tree`."""
    return {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "3"}


def command(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `loihi-deploy` as it is in `tree`."""
    return subprocess.run(
        [sys.executable, "-c", CLI, *arguments],
        cwd=tree,
        env=environment(tree),
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )


class Worker:
    """A process that presents the same samples whenever it is told to."""

    def __init__(
        self, tree: Path, network: Path, samples: Path, outputs: Path, steps: int, runs: int
    ) -> None:
        given = [str(network), str(samples), str(steps), str(runs), str(outputs)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *given],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a run failed, with status {self.process.wait()}")
        return line

    def seconds(self) -> list[float]:
        """Seconds of a run, and of processor time."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return [float(word) for word in self._line().split()]

    def end(self) -> None:
        """Close the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def times_of_runs(
    trees: list[Path], name: str, n: int, folder: Path, steps: int, rounds: int
) -> NDArray[np.float64]:
    """Seconds and processor seconds of runs, (rounds, 2 trees, 2); ends the program if the outputs differ."""
    code = "import sys, numpy as np; from loihi_deploy.bench import networks as b; "
    code += "np.save(sys.argv[1], b.inputs(sys.argv[2], int(sys.argv[3])))"
    samples = folder / f"{name}-{n}.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(samples), name, str(n)], env=environment(ROOT), cwd=ROOT, check=True
    )
    runs = max(1, SAMPLE_STEPS // (steps * n))
    outputs = [folder / f"outputs-{i}.npy" for i in range(2)]
    pair = [
        Worker(tree, folder / f"{name}.loihi", samples, out, steps, runs)
        for tree, out in zip(trees, outputs, strict=True)
    ]
    if not np.array_equal(np.load(outputs[0]), np.load(outputs[1])):
        sys.exit(f"{name}: outputs differ")
    found = []
    for i in range(rounds):
        turn = {which: pair[which].seconds() for which in ((0, 1) if i % 2 else (1, 0))}
        found.append((turn[0], turn[1]))
    for worker in pair:
        worker.end()
    return np.array(found)


def times_of_commands(trees: list[Path], arguments: list[str], rounds: int) -> NDArray[np.float64]:
    """Seconds and processor seconds of a command in fresh processes, (rounds, 2 trees, 2)."""
    found = []
    for i in range(rounds):
        turn = {}
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter(), processor_seconds()
            command(trees[which], *arguments)
            turn[which] = [time.perf_counter() - start[0], processor_seconds() - start[1]]
        found.append((turn[0], turn[1]))
    return np.array(found)


def processor_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(case: str, times: NDArray[np.float64], tolerance: float) -> bool:
    """Print a line of the table; True where the case is slower beyond the tolerance."""
    ratio, of_processor = np.median(times[:, 0] / times[:, 1], axis=0)
    slower = bool(max(ratio, of_processor) < 1 - tolerance)
    before, now = 1e3 * times[:, :, 0].min(axis=0)
    print(
        f"{case:24} {before:10.2f} {now:10.2f} {ratio:14.3f} {of_processor:16.3f}"
        + ("  SLOWER" if slower else ""),
        flush=True,
    )
    return slower


def main() -> int:
    """Compare, print a table; 1 where something became slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=21, help="turns of each case")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--tolerance", type=float, default=0.05)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = folder / "before"
        archive = subprocess.run(
            ["git", "archive", given.commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(before, filter="data")
        trees = [before, ROOT]
        print(f"{'best, in ms':24} {'before':>10} {'now':>10} {'times as fast':>14} {'processor time':>16}")
        slower = False
        for network, batches in CASES.items():
            command(before, "compile", network, "-o", str(folder / f"{network}.loihi"))
            for n in batches:
                times = times_of_runs(trees, network, n, folder, given.steps, given.rounds)
                slower |= row(f"{network} x {n}", times, given.tolerance)
        file, samples = str(folder / "mnist-convnet.loihi"), str(folder / "mnist-convnet-64.npy")
        commands = {
            "--help": ["--help"],
            "run, 64 samples": ["run", file, samples, "--steps", "20", "-o", str(folder / "out.npy")],
            "compile mnist-convnet": ["compile", "mnist-convnet"],
        }
        for label, arguments in commands.items():
            times = times_of_commands(trees, arguments, max(3, given.rounds // 4))
            slower |= row(label, times, given.tolerance)
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
