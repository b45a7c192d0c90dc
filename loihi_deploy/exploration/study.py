"""The trials one after the other, or side by side, chosen and kept by Optuna."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loihi_deploy.errors import InputError, Problem, missing_extra
from loihi_deploy.exploration.outcome import exceeds, holds
from loihi_deploy.exploration.space import Between, Space, options_with
from loihi_deploy.exploration.trial import Maker, Trial, limits
from loihi_deploy.files import check_writable
from loihi_deploy.options import DeployOptions

STARTUP = 10
"""Trials drawn at random before what is known counts."""
LONGER = {"synapse": 0.002, "readout_window": 0.85}
"""A longer memory of few spikes: synapses that last, and a readout that looks back further."""
SEEDS: tuple[tuple[float, float, Mapping[str, Any]], ...] = (
    *((part, 1.0, {}) for part in (0.8, 0.65, 0.5)),
    *((part, rate, LONGER) for rate in (1.0, 0.75, 0.5) for part in (1.0, 0.8, 0.65)),
)
"""What is tried first: presentation times and target rates as parts of those of ``steps="auto"``, and more."""
STUDY = "loihi-deploy explore"
SQLITE = b"SQLite format 3\0"
"""How such a file begins (https://www.sqlite.org/fileformat.html)."""

logger = logging.getLogger(__name__)

Submit = Callable[..., Any]
First = Callable[[Sequence[Any]], tuple[int, Trial]]


class Study:
    """Trials of a maker's deployments, kept in a store.

    Parameters
    ----------
    maker : Maker
    base : DeployOptions
        What no trial changes.
    asked : dict of str
        What makes it the same exploration: compared with what a store holds.
    storage : str, path, optuna storage or None
        A file (SQLite) to begin, or to go on with.
    seed : int
    """

    def __init__(
        self, maker: Maker, base: DeployOptions, asked: Mapping[str, str], storage: Any, seed: int
    ) -> None:
        self._maker = maker
        self._base = base
        self._open: dict[str, Between | tuple[Any, ...]] = {}
        with _quietly() as optuna:
            self._optuna = optuna
            self._study = _opened(optuna, storage, len(maker.minimize))
            self._check(asked, storage)
            self._give_again()
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed + len(self._study.trials),
                n_startup_trials=STARTUP,
                multivariate=True,
                constant_liar=True,
                constraints_func=lambda trial: trial.user_attrs["constraints"],
            )

    def _check(self, asked: Mapping[str, str], storage: Any) -> None:
        """Refuse to go on with another exploration."""
        before = self._study.user_attrs.get("asked")
        if before is None:
            self._study.set_user_attr("asked", dict(asked))
        elif before != asked:
            remedy = "Explore as before, or give another file"
            raise InputError(
                "The store holds another exploration",
                [
                    Problem("differs", f"{storage}: {name}", before.get(name), asked.get(name), remedy)
                    for name in sorted({*before, *asked})
                    if before.get(name) != asked.get(name)
                ],
            )

    def _give_again(self) -> None:
        """Let trials that were under way when their process ended be made again."""
        running = self._optuna.trial.TrialState.RUNNING
        for trial in self._study.get_trials(states=(running,)):
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    def search(self, space: Space) -> None:
        """Say what is searched; see `checked_space`."""
        fixed = {
            name: values[0]
            for name, values in space.items()
            if not isinstance(values, Between) and len(values) == 1
        }
        self._base = options_with(self._base, fixed)
        self._open = {name: values for name, values in space.items() if name not in fixed}

    @property
    def auto(self) -> Trial | None:
        """What ``steps="auto"`` gave, where that is known."""
        found = self._study.user_attrs.get("auto")
        return None if found is None else _trial(found)

    def set_auto(self, trial: Trial) -> None:
        """Keep what ``steps="auto"`` gave, and try what is near it first."""
        steps = trial.options.steps
        if isinstance(steps, int):
            known = trial.options.as_dict()
            for part, rate, more in SEEDS:
                changed = {"steps": max(1, round(part * steps)), "target_rate": rate * known["target_rate"]}
                nearest = self._nearest({**known, **changed, **more})
                with _quietly():
                    self._study.enqueue_trial(nearest, skip_if_exists=True)
        self._study.set_user_attr("auto", _values(trial))

    def _nearest(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of the space that are nearest to options by name; what has no place in it is left out."""
        found = {}
        for name, values in self._open.items():
            if isinstance(values, Between):
                value = min(max(wanted[name] or values.low, values.low), values.high)
                found[name] = round(value) if values.whole else float(value)
            elif wanted[name] in values:
                found[name] = values.index(wanted[name])
        return found

    @property
    def trials(self) -> list[tuple[int, Trial]]:
        """Trials that were ended, by number."""
        ended = [trial for trial in self._study.trials if "trial" in trial.user_attrs]
        return [(trial.number, _trial(trial.user_attrs["trial"])) for trial in ended]

    def run(
        self, n_trials: int, submit: Submit, first: First, at_once: int, advance: Callable[[int], None]
    ) -> None:
        """Try until `n_trials` were tried, those of earlier runs included.

        Parameters
        ----------
        n_trials : int
        submit : callable
            Starts the maker with arguments.
        first : callable
            Gives the index of the first of what was started that is done, and its result.
        at_once : int
            How many are under way.
        advance : callable
            Told of each that ends.
        """
        distributions = {name: self._distribution(values) for name, values in self._open.items()}
        n_trials = n_trials if distributions else 1  # all would be the same
        done = [trial for _, trial in self.trials]
        advance(len(done))
        under_way: list[tuple[Any, Any]] = []
        while len(done) < n_trials:
            while len(under_way) < min(at_once, n_trials - len(done)):
                with _quietly():
                    asked = self._study.ask(distributions)
                under_way.append((asked, submit(self._options(asked.params), self._costs(done))))
            which, found = first([future for _, future in under_way])
            asked, _ = under_way.pop(which)
            self._tell(asked, found)
            done.append(found)
            advance(1)
            logger.info("trial %d of %d: %s", len(done), n_trials, found.stopped or "judged on all samples")

    def _costs(self, done: list[Trial]) -> list[list[float]]:
        """What is minimized, of trials that hold every limit."""
        auto = [self.auto] if self.auto is not None else []
        return [
            [trial.figures[name] for name in self._maker.minimize]
            for trial in (*auto, *done)
            if not trial.stopped and holds(trial.figures, self._maker.keep)
        ]

    def _tell(self, asked: Any, found: Trial) -> None:
        state = self._optuna.trial.TrialState
        asked.set_user_attr("trial", _values(found))
        far = [
            exceeds(name, found.figures[name], limit)
            for name, limit in limits(self._maker.keep, found.figures).items()
            if name in found.figures
        ]
        asked.set_user_attr("constraints", far or [0.0])
        costs = [found.figures.get(name) for name in self._maker.minimize]
        with _quietly():
            if not found.figures:
                self._study.tell(asked, state=state.FAIL)
            elif None in costs or (found.stopped and max(far, default=0.0) > 0):
                self._study.tell(asked, state=state.PRUNED)
            else:
                self._study.tell(asked, costs)

    def _options(self, params: Mapping[str, Any]) -> DeployOptions:
        chosen = {}
        for name, value in params.items():
            values = self._open[name]
            chosen[name] = value if isinstance(values, Between) else values[value]
        return options_with(self._base, chosen)

    def _distribution(self, values: Between | tuple[Any, ...]) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(values, Between):
            return kinds.CategoricalDistribution(range(len(values)))
        if values.whole:
            return kinds.IntDistribution(int(values.low), int(values.high), log=values.logarithmic)
        return kinds.FloatDistribution(values.low, values.high, log=values.logarithmic)


def _opened(optuna: Any, storage: Any, n_directions: int) -> Any:
    """The study in a store, begun where there is none.

    Raises
    ------
    OutputError
        If the file cannot be written.
    InputError
        If it is another kind of file, or no store at all.
    """
    is_path = isinstance(storage, (str, os.PathLike))
    if is_path:
        check_writable(storage)
        with suppress(FileNotFoundError):
            start = Path(storage).read_bytes()[: len(SQLITE)]
            if start and start != SQLITE:
                raise InputError.single(
                    "holds no exploration", str(storage), remedy="Give the path of a file that is to be made"
                )
    try:
        if is_path:
            from sqlalchemy.engine import URL

            url = URL.create("sqlite", database=os.fspath(storage))
            storage = optuna.storages.RDBStorage(url.render_as_string())
        return optuna.create_study(
            storage=storage,
            study_name=STUDY,
            directions=["minimize"] * n_directions,
            load_if_exists=True,
        )
    except Exception as error:  # whatever Optuna, SQLAlchemy and SQLite raise
        raise InputError.single(
            "cannot be used to keep trials in",
            "storage",
            str(storage),
            "the path of a file, or a storage of Optuna",
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}",
        ) from error


@contextmanager
def _quietly() -> Iterator[Any]:
    """Optuna, without what it logs of each trial, and without its warnings that samplers with limits are new.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("optuna", "Exploring", "explore") from error
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)


def _values(trial: Trial) -> dict[str, Any]:
    """A trial as a store keeps it."""
    return {"options": trial.options.as_dict(), "figures": dict(trial.figures), "stopped": trial.stopped}


def _trial(values: Mapping[str, Any]) -> Trial:
    return Trial(DeployOptions(**values["options"]), values["figures"], values["stopped"])
