"""NIR graphs stepped in a few lines of numpy, as their writers step them: forward Euler, a spike is a current of 1."""

import nir
import numpy as np


def conv(node, x):
    weight = np.asarray(node.weight, float)
    if weight.ndim == 3:
        weight, x = weight[:, :, None], x[:, None]
    stride, dilation = np.broadcast_to(node.stride, 2), np.broadcast_to(node.dilation, 2)
    padding = np.broadcast_to(0 if isinstance(node.padding, str) else node.padding, 2)
    if isinstance(node, nir.Conv1d):
        padding, stride, dilation = (0, padding[1]), (1, stride[1]), (1, dilation[1])
    x = np.pad(x, [(0, 0), *((n, n) for n in padding)])
    out = [(x.shape[1 + a] - dilation[a] * (weight.shape[2 + a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    made = np.zeros((len(weight), *out))
    n_in, per_group = weight.shape[1], len(weight) // node.groups
    for f in range(len(weight)):
        part = x[f // per_group * n_in :][:n_in]
        for i, j in np.ndindex(weight.shape[2:]):
            rows = slice(i * dilation[0], i * dilation[0] + (out[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + (out[1] - 1) * stride[1] + 1, stride[1])
            made[f] += np.tensordot(weight[f, :, i, j], part[:, rows, columns], 1)
        made[f] += np.asarray(node.bias)[f]
    return made[:, 0] if isinstance(node, nir.Conv1d) else made


def pool(node, x):
    (kh, kw), (sh, sw) = np.broadcast_to(node.kernel_size, 2), np.broadcast_to(node.stride, 2)
    ph, pw = np.broadcast_to(node.padding, 2)
    x = np.pad(x, [(0, 0), (ph, ph), (pw, pw)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
    return windows.sum((3, 4)) if isinstance(node, nir.SumPool2d) else windows.mean((3, 4))


class Steps:
    """A graph without graphs in it; `order` names its nodes in the order in which a step works them off.

    Voltages of neurons stop at `floor`, which NIR has not.
    """

    def __init__(self, graph, order, dt, floor=-np.inf):
        self.graph, self.order, self.dt, self.floor = graph, order, dt, floor
        self.out, self.v, self.i = {}, {}, {}

    def step(self, x):
        """Outputs of all nodes by name, for the values of the inputs."""
        for name in self.order:
            node = self.graph.nodes[name]
            given = [self.out[a] for a, b in self.graph.edges if b == name and a in self.out]
            self.out[name] = x[name] if isinstance(node, nir.Input) else self.act(name, node, sum(given))
        return dict(self.out)

    def act(self, name, node, x):
        dt, kind = self.dt, type(node).__name__
        if kind == "Output":
            return x
        if kind in ("Linear", "Affine"):
            return node.weight @ x + getattr(node, "bias", 0)
        if kind in ("Conv1d", "Conv2d"):
            return conv(node, x)
        if kind in ("SumPool2d", "AvgPool2d"):
            return pool(node, x)
        if kind == "Flatten":
            return x.reshape(-1)
        if kind == "Scale":
            return node.scale * x
        if kind == "Threshold":
            return (x > node.threshold).astype(float)
        if kind == "Delay":
            line = self.i.setdefault(name, [])
            line.append(np.array(x, float))
            steps = np.round(np.broadcast_to(node.delay, np.shape(x)) / dt).astype(int)
            now = len(line) - 1
            return np.array([line[now - k][j] if k <= now else 0.0 for j, k in enumerate(steps)])
        v = self.v.get(name, 0.0)
        if kind == "CubaLIF":
            i = self.i.get(name, 0.0)
            x = self.i[name] = i + dt / node.tau_syn * (node.w_in * x - i)
        if kind in ("IF", "I"):
            v = v + node.r * x
        else:
            v = v + dt / (node.tau_mem if kind == "CubaLIF" else node.tau) * (node.v_leak - v + node.r * x)
        if kind in ("LI", "I"):
            self.v[name] = v
            return v
        v = np.maximum(v, self.floor)
        spikes = v > node.v_threshold
        self.v[name] = np.where(spikes, node.v_reset, v)
        return spikes.astype(float)
