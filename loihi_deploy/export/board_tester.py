"""Compare a Loihi board with loihi_deploy's emulator, spike by spike: ``python selftest.py -o report.json``.

Written by ``loihi-deploy selftest --export``; needs numpy, nengo-loihi 1.1 and NxSDK, and runs on Python 3.6 to 3.8,
which NxSDK has. Beside it lie ``runs.json`` and a folder for each small network: the network, samples, and the
emulator's spikes for each way to run it. The exit status is 1 where any spike differs.
"""

import argparse
import json
import os
import platform
import sys
from typing import Any

import numpy as np

VARIABLES = ("SLURM", "PARTITION", "BOARD", "KAPOHOBAY")
"""Variables of the environment by which NxSDK chooses a board."""


def differences(expected: Any, found: Any) -> Any:
    """How many spikes there are in one of two runs only, and where the first of them is; '' where there is none.

    Parameters
    ----------
    expected, found : dict of (n_samples, steps, size) bool arrays
        By population.
    """
    different, first = 0, ""
    for name, spikes in expected.items():
        places = np.argwhere(spikes != found[name])
        different += len(places)
        if len(places) and not first:
            sample, step, neuron = places[np.argsort(places[:, 1], kind="stable")[0]].tolist()
            what = "is missing" if spikes[sample, step, neuron] else "is too many"
            first = "'{}' neuron {}, sample {}, step {}: a spike {}".format(
                name, neuron, sample, step + 1, what
            )
    return different, first


def compare(runner: Any, folder: str, network: Any, steps: int, how: Any) -> Any:
    """Run a network in one way; gives a row of the report."""
    with np.load(os.path.join(folder, how["spikes"])) as arrays:
        expected = {name: arrays[name] for name in arrays.files}
    row = {"network": network["name"], "run": how["run"]}
    row["spikes"] = sum(int(spikes.sum()) for spikes in expected.values())
    row["different"], row["first"] = None, ""
    arguments = argparse.Namespace(
        steps=steps, reset=how["reset"], gap=how["gap"], record=sorted(expected), stream=False, seed=0
    )
    try:
        tree = runner.load_tree(folder)
        samples, sequences = runner.read_samples(tree, os.path.join(folder, "samples.npy"))
        _, found, _ = runner.run(tree, samples, sequences, arguments)
        row["different"], row["first"] = differences(expected, found)
    except (
        Exception,
        SystemExit,
    ) as error:  # NxSDK raises anything; the other networks are still worth a try
        row["first"] = "{}: {}".format(type(error).__name__, error)
    row["equal"] = row["different"] == 0
    return row


def main() -> None:
    """Run all, compare, report."""
    parser = argparse.ArgumentParser(description="Compare a Loihi board with loihi_deploy's emulator.")
    parser.add_argument("-o", "--output", required=True, help="report to write, as JSON")
    arguments = parser.parse_args()
    top = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(top, "runs.json")) as stream:
        plan = json.load(stream)
    sys.path.insert(0, os.path.join(top, plan["networks"][0]["folder"]))  # each folder has the same script
    import run as runner

    rows = []
    for network in plan["networks"]:
        for how in network["runs"]:
            row = compare(runner, os.path.join(top, network["folder"]), network, plan["steps"], how)
            rows.append(row)
            count = "failed" if row["different"] is None else "{} different".format(row["different"])
            print(
                "{}, {}: {} spikes, {} {}".format(
                    row["network"], row["run"], row["spikes"], count, row["first"]
                )
            )
    about = {"python": platform.python_version(), "platform": sys.platform, "numpy": np.__version__}
    loaded = [name for name in ("nxsdk", "nengo_loihi", "nengo") if name in sys.modules]
    about.update({name.replace("_", "-"): sys.modules[name].__version__ for name in loaded})
    about.update({"loihi-deploy": plan["made_with"]})
    about.update({name: os.environ[name] for name in VARIABLES if name in os.environ})
    passed = all(row["equal"] for row in rows)
    report = {"backend": "hardware", "passed": passed, "about": about, "runs": rows}
    with open(arguments.output, "w") as stream:
        json.dump(report, stream, indent=2)
    if passed:
        print("Every spike is that of the emulator.")
    else:
        n = sum(not row["equal"] for row in rows)
        print(
            "{} of {} runs differ from the emulator: please send us {}".format(n, len(rows), arguments.output)
        )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
