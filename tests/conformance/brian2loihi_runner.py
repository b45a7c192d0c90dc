"""Run a network in Brian2Loihi, where that is installed: ``python brian2loihi_runner.py network.npz results.npz``.

A program of its own, in an environment of its own (numpy 1, brian2 below 2.6): nothing of this package is imported.
Every population has the settings decay_u, decay_v, threshold, refractory; ``weights_a_b`` is a matrix (to, from) in the
chip's mantissas, times 2 ^ (6 + exponent); ``spikes`` (steps, n) is what the source sends.
"""

import sys

import brian2
import numpy as np
from brian2_loihi import (
    LoihiNetwork,
    LoihiNeuronGroup,
    LoihiSpikeGeneratorGroup,
    LoihiStateMonitor,
    LoihiSynapses,
    synapse_sign_mode,
)

brian2.prefs.codegen.target = "numpy"
given = np.load(sys.argv[1])
steps, n = given["spikes"].shape
times, indices = np.nonzero(given["spikes"])
groups = {"source": LoihiSpikeGeneratorGroup(n, indices, times)}
monitors, parts = {}, []
for name, (size, decay_u, decay_v, threshold, refractory) in zip(
    given["names"], given["settings"], strict=True
):
    group = LoihiNeuronGroup(
        int(size),
        refractory=int(refractory),
        threshold_v_mant=int(threshold),
        decay_v=int(decay_v),
        decay_I=int(decay_u) + 1,
    )
    groups[str(name)] = group
    for variable in ("I", "v"):
        monitors[f"{name}_{variable}"] = LoihiStateMonitor(group, variable)
    monitors[f"{name}_spikes"] = brian2.SpikeMonitor(group)
for pre, post, exponent in given["edges"]:
    weights = given[f"weights_{pre}_{post}"]
    synapses = LoihiSynapses(
        groups[str(pre)], groups[str(post)], w_exp=int(exponent), sign_mode=synapse_sign_mode.MIXED
    )
    rows, columns = np.indices(weights.shape)
    synapses.connect(i=columns.ravel(), j=rows.ravel())
    synapses.w = weights.ravel().astype(np.int64)
    parts.append(synapses)
LoihiNetwork(*groups.values(), *monitors.values(), *parts).run(steps)
found = {}
for key, monitor in monitors.items():
    if key.endswith("_spikes"):
        spikes = np.zeros((steps, len(monitor.source)), bool)
        spikes[np.round(np.asarray(monitor.t / brian2.ms)).astype(int), np.asarray(monitor.i)] = True
        found[key] = spikes
    else:
        found[key] = np.asarray(getattr(monitor, key[-1])).T
np.savez(sys.argv[2], **found)
