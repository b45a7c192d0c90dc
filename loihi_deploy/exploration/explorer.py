"""``loihi_deploy.explore``: converts the network once, and lets many deployments of it be tried."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import __version__
from loihi_deploy.analysis.certainty import odds
from loihi_deploy.analysis.frames import rate_values
from loihi_deploy.analysis.gate import Criteria
from loihi_deploy.backends.job import progress_bar
from loihi_deploy.checked import Range, checked
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.data.named import evenly
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.exploration.outcome import AUTO, Exploration, as_point, front_of
from loihi_deploy.exploration.space import (
    CORRECTION_STEPS,
    MOST_STEPS,
    checked_space,
    default_space,
    options_with,
)
from loihi_deploy.exploration.study import First, Study, Submit
from loihi_deploy.exploration.trial import FIGURES, MARK, Judged, Maker, Trial, with_synapse
from loihi_deploy.frontends import check_conversion, convert, opened, sets_firing_rates
from loihi_deploy.ir import Graph, Samples, collected, samples_for
from loihi_deploy.ir.labels import checked_labels, class_labels
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions

CALIBRATION_SAMPLES = 500
"""Taken from the samples, where no others are given to calibrate with."""
MORE_STEPS = 2
"""Longest presentation that is tried, as a multiple of what ``steps="auto"`` found to be enough."""
FIGURE_NAMES = {"energy": "energy_mj", "latency": "latency_ms"}
"""Short names of what is minimized."""

logger = logging.getLogger(__name__)

Part = Annotated[float, Range(0.0, 0.9)]
Trials = Annotated[int, Range(1, 10_000)]
Seed = Annotated[int, Range(0, 2**31)]


@checked
def explore(
    model: Any,
    x: Any,
    y: Any = None,
    board: BoardLike = "nahuku32",
    *,
    calibration: Any = None,
    labels: Any = None,
    space: Mapping[str, Any] | None = None,
    minimize: Collection[str] = ("energy", "latency", "cores"),
    keep: Criteria | None = None,
    n_trials: Trials = 60,
    options: DeployOptions | None = None,
    storage: Any = None,
    held_out: Part = 0.5,
    seed: Seed = 0,
    client: Any = None,
    trust: bool = False,
    progress: bool | None = None,
) -> Exploration:
    """Search for the deployments of a network that cost least, on the emulator.

    The network is converted once. What ``DeployOptions(steps="auto")`` chooses is measured first, then other options
    are tried, by a tree of Parzen estimators (Optuna's `TPESampler`) that learns from each trial. A trial ends early
    where 200 samples show that it cannot hold a limit, or where it holds none of the records.

    Parameters
    ----------
    model : Keras model, nengo_dl.Converter, nengo.Network, Graph or path
        As for `deploy`.
    x : array, mapping or sequence of arrays, or data set
        Samples as for `Deployment.run`; some thousand.
    y : array, optional
        Their labels; else the decisions of the network itself. Or values that the outputs should have, for networks
        without classes.
    board : str, path, Board or Chip
    calibration : array or mapping of arrays, optional
        Samples that firing rates are set from; if not given, 500 of those that choices are made on.
    labels : array, optional
        Classes of `calibration`, which ``steps="auto"`` is chosen with; else the network's decisions.
    space : dict, optional
        What is tried, by the names of `DeployOptions`: ``(low, high)`` is a range, a list holds choices, anything else
        is one value. If not given: presentation time, target rate, percentile, synapses, encoder, weight bits and
        readout window, as far as they change anything.
    minimize : collection of str
        'energy', 'latency', 'cores', 'chips', 'host_spikes', 'drop', 'expected_drop', 'rmse' or 'overflows'. The
        expected drop is that by how sure the rate network is of its decisions: it depends less on which samples were
        there.
    keep : Criteria, optional
        What every deployment has to hold, on the samples that choices are made on; if not given, a drop of at most
        that of `options`, 0.005. With labels, `max_drop` is the limit of the expected drop, too.
    n_trials : int
        In all, those that `storage` holds included.
    options : DeployOptions, optional
        What all trials have in common; the default ones with a bias correction of 50 steps if not given.
    storage : path or Optuna storage, optional
        A file (SQLite) that trials are kept in: the same call with it goes on where an earlier one was ended, by
        whatever. For one run at a time.
    held_out : float
        Part of the samples that no choice is made on, 0..0.9: the final figures are measured on them.
    seed : int
        Of the trials, and of which samples are held out.
    client : distributed.Client, optional
        Of a Dask cluster, whose workers make trials side by side; the network and the samples are sent to each once.
    trust : bool
        Whether code in a model file may run.
    progress : bool, optional
        Show a progress bar; on a terminal only, if not given.

    Returns
    -------
    Exploration
        Print it; ``plot()`` draws it, ``deployment(name)`` makes a point again, ``save(name, path)`` writes it.

    Raises
    ------
    InputError
        If samples, labels, limits or the space do not fit, or the storage holds another exploration.
    MissingExtraError
        If Optuna is not installed.
    LoihiDeployError
        As `deploy`, where the network cannot be converted.
    """
    names = _minimized(minimize)
    board = as_board(board)
    source = opened(model, trust)
    if isinstance(source, Program):
        raise InputError.single("its integers are given, so there is nothing to choose", "model", str(model))
    base = options or DeployOptions(bias_correction_steps=CORRECTION_STEPS)
    if base.normalization == "auto" and sets_firing_rates(source):
        base = replace(base, normalization="none")
    logger.info("converting the network")
    converted = convert(source, replace(base, synapse=MARK))
    keep = keep or Criteria(max_drop=base.max_drop)
    plain = with_synapse(converted, base.synapse)
    parts = _parts(plain, x, y, base, (calibration, labels), held_out, seed, keep, names)
    check_conversion(source, plain, parts.calibration)
    maker = Maker(converted, board, parts.calibration, parts.labels, parts.chosen_on, keep, names)
    tries_steps = parts.calibration.n_frames == 1 and (space is None or "steps" in space)
    asked = _asked(maker, parts, base, space)
    with _workers(client, maker, progress, n_trials) as (submit, first, at_once, advance):
        study = Study(maker, base, asked, storage, seed)
        auto = study.auto
        if auto is None and tries_steps:
            logger.info("choosing with steps='auto', to compare with")
            limit = keep.max_drop if keep.max_drop is not None else base.max_drop
            auto = first([submit(options_with(base, {"steps": "auto", "max_drop": limit}))])[1]
        most = MOST_STEPS
        if auto is not None and isinstance(auto.options.steps, int):
            most = MORE_STEPS * auto.options.steps
        given = default_space(converted, parts.calibration, base, most) if space is None else space
        study.search(checked_space(given, base))
        if auto is not None and study.auto is None:
            study.set_auto(auto)
        study.run(n_trials, submit, first, at_once, advance)
    return _outcome(maker, study, parts, client)


@dataclass(frozen=True)
class _Parts:
    """The samples, by what they are for."""

    calibration: Samples
    labels: Any
    chosen_on: Judged
    held_out: Judged | None


@dataclass(frozen=True)
class _Final:
    """Measures a point on samples that no choice was made on."""

    maker: Maker
    held_out: Judged

    def __call__(self, options: DeployOptions) -> dict[str, float]:
        return dict(replace(self.maker, judged=self.held_out, keep=Criteria())(options).figures)


def _minimized(minimize: Iterable[str]) -> tuple[str, ...]:
    """Names of figures."""
    names = tuple(dict.fromkeys(FIGURE_NAMES.get(name, name) for name in minimize))
    known = [name for name, figure in FIGURES.items() if not figure.higher]
    bad = [name for name in names if name not in known]
    if bad or not names:
        allowed = ", ".join([*FIGURE_NAMES, *(n for n in known if n not in FIGURE_NAMES.values())])
        remedy = "" if bad else "Give at least one"
        if "accuracy" in bad:
            remedy = "Give drop, which is less where accuracy is more"
        raise InputError.single(
            "cannot be minimized", "minimize", ", ".join(bad) or "nothing", allowed, remedy
        )
    return names


def _parts(
    converted: Graph,
    x: Any,
    y: Any,
    options: DeployOptions,
    calibrated: tuple[Any, Any],
    held_out: float,
    seed: int,
    keep: Criteria,
    names: Sequence[str],
) -> _Parts:
    """Share the samples out."""
    if not converted.readouts:
        raise InputError.single("there is no readout to choose by", "model")
    readout = converted.readouts[0]
    x, labels_of_x = collected(x, converted.origins)
    y = labels_of_x if y is None else y
    samples = samples_for(converted, x)
    n = len(samples)
    if y is None and readout.n_classes == 1:
        raise InputError.single("a network without classes needs values to be compared with", "y")
    values = rate_values(converted, samples, options) if readout.n_classes > 1 else None
    classes = None if values is None else readout.classes(values)
    right: Any
    if y is None:
        right = classes
    elif classes is not None and class_labels(y, readout) is not None:
        right = checked_labels(y, n, readout)
    else:
        right = _values(y)
        if right.size != n * readout.size:
            wanted = (n, readout.size)
            raise InputError.single("neither classes nor one value for each output", "y", right.shape, wanted)
        right = right.reshape(n, -1)
    has_classes = right.ndim == 1
    missing = {"rmse"} if has_classes else {"drop", "accuracy", "expected_drop"}
    instead = {"keep": "Give keep=Criteria(max_rmse=...)", "minimize": "Minimize rmse in its place"}
    if y is None and "expected_drop" in names:
        remedy = "Give labels, or minimize drop"
        raise InputError.single("cannot be told without labels", "minimize", "expected_drop", remedy=remedy)
    problems = [
        Problem(
            "cannot be judged by these labels",
            where,
            name,
            remedy="Give labels that are values" if has_classes else instead[where],
        )
        for where, asked in (("keep", keep.limits), ("minimize", names))
        for name in asked
        if name in missing
    ]
    if problems:
        raise InputError("Nothing can be explored", problems)
    source_right = np.zeros(n, bool) if classes is None or not has_classes else classes == right
    order = np.random.default_rng(seed).permutation(n)
    n_held = round(held_out * n)
    if n_held == n:
        raise InputError.single("no sample is left to choose by", "held_out", held_out)

    ours, theirs = order[n_held:], order[:n_held]
    likely = None
    if values is not None and y is not None and has_classes:
        likely = odds(values, right, ours)

    def judged(which: Any) -> Judged:
        chances = None if likely is None else likely[which]
        return Judged(samples.take(which), right[which], source_right[which], chances)

    calibration, labels = calibrated
    if calibration is None:
        if labels is not None:
            raise InputError.single("labels of no samples", "labels", remedy="Give calibration, too")
        few = ours[evenly(len(ours), CALIBRATION_SAMPLES)]
        labels = right[few] if has_classes else None
        return _Parts(samples.take(few), labels, judged(ours), judged(theirs) if n_held else None)
    given = samples_for(converted, calibration)
    if not has_classes:
        labels = None
    if labels is not None:
        labels = checked_labels(labels, len(given), readout)
    return _Parts(given, labels, judged(ours), judged(theirs) if n_held else None)


def _asked(maker: Maker, parts: _Parts, base: DeployOptions, space: Any) -> dict[str, str]:
    """What makes an exploration the same one."""

    def digest(judged: Judged | None) -> str:
        if judged is None:
            return "none"
        return f"{judged.samples.digest} {_digest(judged.right)}"

    return {
        "version": __version__,
        "model": maker.converted.digest,
        "board": hashlib.sha256(repr(asdict(maker.board)).encode()).hexdigest(),
        "options": base.digest,
        "calibration": f"{maker.calibration.digest} {_digest(maker.labels)}",
        "samples": digest(maker.judged),
        "held out": digest(parts.held_out),
        "limits": repr(sorted(maker.keep.limits.items())),
        "minimize": ", ".join(maker.minimize),
        "space": "the default one"
        if space is None
        else repr(sorted(space.items(), key=lambda item: item[0])),
    }


def _digest(values: Any) -> str:
    return "none" if values is None else hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


@contextmanager
def _workers(
    client: Any, maker: Maker, progress: bool | None, n_trials: int
) -> Iterator[tuple[Submit, First, int, Any]]:
    """Where trials are made: what starts one, what waits for the first of several, and how many are under way."""
    with progress_bar(progress, n_trials, "trials") as advance:
        if client is None:
            yield maker, lambda results: (0, results[0]), 1, advance
            return
        from loihi_deploy.backends import cluster

        with cluster.on_workers(client, maker) as submit:
            yield submit, lambda futures: cluster.first(client, futures), cluster.n_threads(client), advance


def _outcome(maker: Maker, study: Study, parts: _Parts, client: Any) -> Exploration:
    trials: list[tuple[str, Trial]] = [(str(number), trial) for number, trial in study.trials]
    if study.auto is not None:
        trials.insert(0, (AUTO, study.auto))
    points = [as_point(name, trial) for name, trial in trials if trial.figures]
    front = front_of(points, maker.minimize, maker.keep)
    if parts.held_out is not None:
        logger.info("measuring on held-out samples")
        final = _Final(maker, parts.held_out)
        shown = [point for point in points if point in front or point.name == AUTO]
        calls = [(point.options,) for point in shown]
        if client is None:
            figures = [final(*call) for call in calls]
        else:
            from loihi_deploy.backends import cluster

            figures = list(cluster.results(client, final, calls))
        by_name = {point.name: found for point, found in zip(shown, figures, strict=True)}
        points = [replace(point, final=by_name.get(point.name, {})) for point in points]
        front = front_of(points, maker.minimize, maker.keep)
    return Exploration(
        tuple(points),
        front,
        maker.minimize,
        maker.keep,
        tuple(f"{name}: {trial.stopped}" for name, trial in trials if not trial.figures),
        len(maker.judged.samples),
        0 if parts.held_out is None else len(parts.held_out.samples),
        maker,
    )


def _values(y: Any) -> NDArray[np.float64]:
    """Labels as values that the outputs should have."""
    given = np.asarray(y)
    if given.dtype.kind not in "biuf":
        raise InputError.single("labels are neither classes nor values", "y", given.dtype, "real numbers")
    return given.astype(np.float64)
