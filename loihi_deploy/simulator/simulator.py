"""The Nengo simulator whose ensembles run on the chip.

It is `nengo.Simulator` for the part of a network that stays on the host, with the chip stepped between.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import nengo
import numpy as np
from nengo.exceptions import SimulatorClosed
from nengo.simulator import SimulationData
from nengo.utils.progress import Progress, ProgressTracker
from nengo_loihi.builder import Model
from nengo_loihi.probe import ProbeFilter
from numpy.typing import NDArray

from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import BackendError, InputError, Problem
from loihi_deploy.simulator.batch import Batch, Data, rows_by_sample
from loihi_deploy.simulator.block_chip import Chip
from loihi_deploy.simulator.building import NoPlaceError, build, initial_voltages
from loihi_deploy.simulator.converted import LayerProbe, converted, is_converter
from loihi_deploy.simulator.demands import (
    check_backend,
    check_board,
    check_model,
    check_target,
    missing_attribute,
    warn_without_effect,
)
from loihi_deploy.simulator.division import Division, Placement, anything_on_chip
from loihi_deploy.simulator.messages import Messages, fed
from loihi_deploy.simulator.nengo_loihi_chip import ReferenceChip
from loihi_deploy.simulator.whole import Whole, whole_of

CHIPS = {"emulator": Chip, "nengo_loihi": ReferenceChip}


class Simulator(nengo.Simulator):  # type: ignore[misc]
    """Simulate a Nengo network with its ensembles on the emulated chip.

    The interface is that of `nengo.Simulator`. What is probed equals, bit by bit, what nengo-loihi's emulator gives
    for the same network and seed, learning and noise included. ``nengo_loihi.add_params`` and the parameters that it
    adds (``on_chip``, ``block_shape``, ``pop_type``) are honoured and optional. A network with nothing for the chip to
    do runs on the host; ensembles that the chip cannot run are left there with a warning.

    Initial voltages are applied where a neuron type was given an ``initial_state``; Nengo's random default is not, and
    voltages then start from 0, as in nengo-loihi.

    ``sim.data[connection].weights`` has Nengo's scale, in which a spike counts 1 / dt. nengo-loihi's are 1 / dt larger
    where an ensemble on chip is decoded, for a spike counts 1 there. ``sim.model`` is Nengo's model of the host's part.

    Parameters
    ----------
    network : nengo.Network, nengo_dl.Converter or None
        Of a Converter, whose layers are converted as by `loihi_deploy.convert`, the input nodes and output probes are
        used as those of a network are.
    dt : float
        Step in seconds.
    seed : int, optional
        Of noise, stochastic rounding and processes; ``network.seed + 1`` if not given, else random.
    model : nengo_loihi.builder.Model or nengo.builder.Model, optional
        Build into this model, with its settings; Nengo's, where nothing is on chip. Without a network, the ``model`` of
        another simulator, pickled or not, is run again.
    backend : {'emulator', 'nengo_loihi'}
        This package's engine, or nengo-loihi's emulator (also by its old name, 'reference').
    progress_bar : bool or nengo.utils.progress.ProgressBar
    optimize : bool
        Let Nengo merge operators where nothing is on chip.
    precompute : bool, optional
        Run the chip's inputs ahead of the chip, as nengo-loihi does; where possible, if not given.
    remove_passthrough : bool
        Replace passthrough nodes between ensembles on chip by direct connections.
    board : str, path or Board
        Board whose cores the network must fit.
    minibatch_size : int, optional
        Samples to run side by side, each from rest, with data for nodes given to `run`; probed data then has samples
        as its first axis.
    target : {'sim'}, optional
        As in `nengo_loihi.Simulator`: the integers of the chip.
    hardware_options, device, unroll_simulation : optional
        Arguments of `nengo_loihi.Simulator` and `nengo_dl.Simulator`; a warning says that they have no effect.

    Raises
    ------
    nengo.exceptions.BuildError
        If the network cannot be built.
    NotOnChipError
        A BuildError: if the chip cannot do what ``on_chip = True`` asks for, or synapses of different time constants
        end at the same neurons.
    MappingError
        If the network needs more cores than the board has.
    InputError, BackendError
        If arguments do not fit the network or each other.
    """

    closed = True  # for an object whose __init__ was never reached
    data: Any

    def __init__(
        self,
        network: Any,
        dt: float = 0.001,
        seed: int | None = None,
        model: Any = None,
        backend: str = "emulator",
        progress_bar: Any = True,
        optimize: bool = True,
        *,
        precompute: bool | None = None,
        remove_passthrough: bool = True,
        board: str | Path | Board = "nahuku32",
        minibatch_size: int | None = None,
        target: str | None = None,
        hardware_options: Any = None,
        device: Any = None,
        unroll_simulation: Any = None,
    ) -> None:
        self.closed = True  # until everything is built
        self._built: Any = None
        self._chip: Any = None
        self._pre: nengo.Simulator | None = None
        self._others: list[Simulator] = []
        self._minibatch_size = minibatch_size
        self._board = load_board(board) if isinstance(board, str | Path) else board
        backend = check_backend(backend, CHIPS)
        check_target(target)
        warn_without_effect(
            hardware_options=hardware_options, device=device, unroll_simulation=unroll_simulation
        )
        if minibatch_size is not None and minibatch_size < 1:
            raise InputError.single("must be at least 1", "minibatch_size", minibatch_size)
        if seed is None:
            drawn = int(np.random.default_rng().integers(nengo.utils.numpy.maxint))
            own = getattr(network, "seed", None)
            seed = drawn if own is None else own + 1
        self._stands_for: Mapping[Any, Any] = {}
        self._layer_probes: Mapping[Any, LayerProbe] = {}
        self._input_orders: Mapping[Any, NDArray[np.intp]] = {}
        if is_converter(network):
            made = converted(network, dt)
            network, self._stands_for, self._layer_probes = made.network, made.stands_for, made.layer_probes
            self._input_orders = made.input_orders
        placement = None if network is None else Placement(network)
        on_chip = placement is not None and anything_on_chip(placement)
        if network is None:
            self._built = whole_of(model)
        if self._built is None:
            check_model(model, on_chip=on_chip)
        if placement is not None and on_chip:
            with ProgressTracker(progress_bar, Progress("Building", "Build")):
                self._built = self._build(network, placement, model, dt, precompute, remove_passthrough)
        if self._built is not None:
            check_board(self._built.blocks, self._board)
            self._check_samples()
            self._chip = CHIPS[backend](self._built, seed, initial_voltages(self._built))
            self._start(seed)
        else:
            merge = optimize and minibatch_size is None  # data for nodes need the operators as they are
            super().__init__(
                network, dt=dt, seed=seed, model=model, progress_bar=progress_bar, optimize=merge
            )
        self.progress_bar, self.optimize = progress_bar, optimize
        self._others = [self._copy() for _ in range((minibatch_size or 1) - 1)]
        if minibatch_size is not None or self._stands_for:
            samples = [sample.data for sample in (self, *self._others)]
            self.data = Batch(samples, self._stands_for, self._layer_probes, squeeze=minibatch_size is None)

    def _build(
        self,
        network: nengo.Network,
        placement: Placement,
        model: Any,
        dt: float,
        precompute: bool | None,
        remove_passthrough: bool,
    ) -> Any:
        """Build the network into a model, None where nothing is left for the chip.

        Ensembles that turn out not to fit the chip go to the host.
        """
        no_place: dict[nengo.Ensemble, Problem] = {}
        while anything_on_chip(placement):
            built = model or Model(dt=float(dt), label=f"{network}, dt={dt:f}")
            try:
                build(built, network, Division(network, placement, precompute, remove_passthrough))
            except NoPlaceError as error:
                if model is not None:  # half of the network is in it already
                    raise
                no_place.update(error.ensembles)
                placement = Placement(network, no_place)
            else:
                return built
        return None

    def _check_samples(self) -> None:
        """Refuse samples side by side where host and chip must take turns."""
        if self._minibatch_size is not None and not self.precompute:
            raise InputError.single(
                "samples cannot run side by side where the host acts on what the chip answers",
                "minibatch_size",
                self._minibatch_size,
                remedy="Leave out minibatch_size, or the connections from the chip back to its inputs",
            )

    def _start(self, seed: int) -> None:
        """Make the host's simulators of a built network."""
        built = self._built
        if built.host_pre.params:
            self._pre = nengo.Simulator(
                None, dt=built.dt, seed=seed, model=built.host_pre, progress_bar=False, optimize=False
            )
            _own_data(self._pre)
        super().__init__(None, dt=built.dt, seed=seed, model=built.host, progress_bar=False, optimize=False)
        _own_data(self)
        Whole(built)
        self._float_type = nengo.rc.float_dtype
        self._from_chip: dict[Any, list[NDArray[Any]]] = {
            probe: [] for probe in built.nengo_probes if probe not in built.chip2host_params
        }
        self.data = self._data()

    def _data(self) -> SimulationData:
        """What was probed and built, wherever it is kept."""
        hosts = (host._sim_data for host in self._on_host)
        return SimulationData(ChainMap(self._from_chip, self._built.params, *hosts))

    def _copy(self) -> Simulator:
        """Another simulator of the same built network."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.closed = True
        other._pre, other._others = None, []
        if self._built is not None:
            other._chip = self._chip.copy()
            other._start(self.seed)
        else:
            nengo.Simulator.__init__(
                other, None, dt=self.dt, seed=self.seed, model=self.model, progress_bar=False, optimize=False
            )
            _own_data(other)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Everything that can be pickled: the built network, the state of host and chip, what was probed."""
        if self._minibatch_size is not None or isinstance(self._chip, ReferenceChip):
            raise NotImplementedError(
                "Only a simulator of one sample on the emulator can be pickled; pickle the network"
            )
        if self._built is None:
            return super().__getstate__()  # type: ignore[no-any-return]
        kept = ("seed", "progress_bar", "optimize", "closed", "_board", "_minibatch_size", "_stands_for")
        of_a_converter = ("_layer_probes", "_input_orders")
        kept_of_chip = ("_chip", "_filter", "_from_chip")
        return {
            "kept": {name: getattr(self, name) for name in (*kept, *of_a_converter, *kept_of_chip)},
            "built": self._built.host.whole,
            "queues": None if self.closed else self._messages.queues,
            "hosts": [] if self.closed else [_host_state(host) for host in self._on_host],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on from a pickled state."""
        if "built" not in state:
            super().__setstate__(state)
            return
        kept = state["kept"]
        self.closed, self._chip, self._pre, self._others = True, None, None, []
        self._built = state["built"].model
        self._start(kept["seed"])
        self.__dict__.update(kept)
        self.data = self._data()
        self._messages = Messages(self._built, self._on_host, self._chip)
        if self.closed:
            self.close()
            return
        self._messages.queues = state["queues"]
        for host, (signals, probed) in zip(self._on_host, state["hosts"], strict=True):
            for signal, value in signals.items():
                host.signals[signal] = value
            host._sim_data.update(probed)
            host._probe_step_time()

    def __getattr__(self, name: str) -> Any:
        """Say by name what other simulators have and this one has not."""
        raise missing_attribute(name)

    @property
    def precompute(self) -> bool:
        """Whether the host runs ahead of the chip, and after it, instead of with it step by step."""
        return self._built is None or bool(self._built.split.precompute)

    @property
    def target(self) -> str:
        """What nengo-loihi's simulator calls this target: 'sim', the chip's integers."""
        return "sim"

    @property
    def _on_host(self) -> list[nengo.Simulator]:
        return [self, *([self._pre] if self._pre else [])]

    def reset(self, seed: int | None = None) -> None:
        """Go back to the state before the first step; `seed` changes what noise and processes draw."""
        super().reset(seed)
        if self._chip is not None:
            if self._pre is not None:
                self._pre.reset(self.seed)
            self._chip.reset(self.seed)
            self._filter = ProbeFilter(dt=self.dt)
            self._messages = Messages(self._built, self._on_host, self._chip)
        for other in self._others:
            other.reset(seed)

    def clear_probes(self) -> None:
        """Forget what was probed."""
        super().clear_probes()
        if self._built is not None and hasattr(self, "_from_chip"):
            for rows in self._from_chip.values():
                rows.clear()
            if self._pre is not None:
                self._pre.clear_probes()
        for other in self._others:
            other.clear_probes()

    def close(self) -> None:
        """Free what running needs; probed data stays."""
        for simulator in (*([self._pre] if self._pre else []), *self._others):
            simulator.close()
        super().close()

    def step(self) -> None:
        """Advance by one step."""
        self.run_steps(1, progress_bar=False)

    def run(self, time_in_seconds: float, progress_bar: Any = None, data: Data | None = None) -> None:
        """Advance by a time in seconds; see `run_steps`."""
        if data is None:
            super().run(time_in_seconds, progress_bar=progress_bar)
        else:
            self.run_steps(round(float(time_in_seconds) / self.dt), progress_bar, data)

    def run_steps(self, steps: int, progress_bar: Any = None, data: Data | None = None) -> None:
        """Advance by a number of steps.

        Parameters
        ----------
        steps : int
        progress_bar : bool or nengo.utils.progress.ProgressBar, optional
            Instead of the simulator's own.
        data : dict of (minibatch_size, steps, size) arrays, optional
            What nodes put out, by node; only with a `minibatch_size`.

        Raises
        ------
        SimulatorClosed
            If the simulator was closed.
        InputError
            If the data do not fit.
        """
        if self.closed:
            raise SimulatorClosed("Simulator cannot run because it is closed.")
        samples = [self, *self._others]
        rows = self._rows(steps, data or {})
        bar = self.progress_bar if progress_bar is None else progress_bar
        with ProgressTracker(bar, Progress("Simulating", "Simulation", steps)) as tracker:
            if self._built is None:
                for sample, values in zip(samples, rows, strict=True):
                    with fed(sample._on_host, values):
                        sample._step_host(steps, tracker if sample is self else None)
            elif self.precompute:
                self._run_ahead(steps, rows, tracker)
            else:
                self._run_together(steps, tracker)

    def _rows(self, steps: int, data: Data) -> list[dict[nengo.Node, NDArray[Any]]]:
        """Data for nodes of each sample."""
        orders = {self._stands_for[node]: order for node, order in self._input_orders.items()}
        data = {self._stands_for.get(node, node): values for node, values in data.items()}
        nodes = {node for simulator in self._on_host for node in simulator.model.sig}
        return rows_by_sample(data, self._minibatch_size, steps, nodes, orders)

    def _step_host(self, steps: int, tracker: ProgressTracker | None) -> None:
        for _ in range(steps):
            super().step()
            if tracker is not None:
                tracker.total_progress.step()

    def _run_ahead(self, steps: int, rows: list[dict[Any, NDArray[Any]]], tracker: ProgressTracker) -> None:
        """Run what feeds the chip, then the chip, then what it feeds, each for all steps."""
        samples = [self, *self._others]
        events = []
        for sample, values in zip(samples, rows, strict=True):
            sample._chip.begin(steps)
            if sample._pre is not None:
                with fed([sample._pre], values):
                    for _ in range(steps):
                        sample._pre.step()
            events.append(sample._messages.take_spikes(steps))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda sample, spikes: sample._chip.advance(spikes), samples, events))
        for sample, values in zip(samples, rows, strict=True):
            sample._messages.give(steps)
            with fed([sample], values):
                sample._step_host(steps, tracker if sample is self else None)
            sample._collect()

    def _run_together(self, steps: int, tracker: ProgressTracker) -> None:
        """Run host and chip in turns, step by step."""
        self._chip.begin(steps)
        for _ in range(steps):
            super().step()
            spikes = self._messages.take_spikes(1)
            self._chip.set_errors(self._messages.take_errors())
            self._chip.advance(spikes)
            self._messages.give(1)
            tracker.total_progress.step()
        self._collect()

    def _collect(self) -> None:
        """Filter what the chip's probes recorded and keep what was asked for."""
        for probe, rows in self._from_chip.items():
            target = self._built.objs[probe]["out"]
            values = self._filter(target, self._chip.recorded(target))
            period = 1 if probe.sample_every is None else probe.sample_every / self.dt
            steps = self._chip.t - len(values) + 1 + np.arange(len(values))
            kept = values[steps % period < 1]
            rows.extend(kept if kept.dtype.kind == "i" else kept.astype(self._float_type))

    @cached_property
    def deployment(self) -> Deployment:
        """What is on chip, mapped to the board, with resources and reports as of `loihi_deploy.deploy`.

        Each of nengo-loihi's blocks is a population; they are packed on cores by `loihi_deploy.map_to_cores`. It is for
        looking at: inputs and decoding stay with the simulator, so that running it gives no answer.

        Raises
        ------
        BackendError
            If nothing is on chip.
        QuantizationError
            If there are weights that change: learning is not part of a program.
        MappingError
            If the network does not fit the board.
        """
        from loihi_deploy.simulator.block_program import deployment_of

        if self._built is None:
            raise BackendError.single("nothing of this network is on chip, so nothing is deployed", "network")
        return deployment_of(self._built, self._board)


def _host_state(simulator: nengo.Simulator) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Signals and probed data of a simulator on the host."""
    signals = {signal: value for signal, value in simulator.signals.items() if not signal.readonly}
    return signals, {probe: simulator._sim_data[probe] for probe in simulator.model.probes}


def _own_data(simulator: nengo.Simulator) -> None:
    """Let a simulator keep probed data by itself: simulators of the same model would share them."""
    simulator._sim_data = dict(simulator._sim_data)
    simulator.data = SimulationData(simulator._sim_data)
    nengo.Simulator.clear_probes(simulator)
