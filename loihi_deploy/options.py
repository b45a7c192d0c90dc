"""How to deploy: every choice that `loihi_deploy.deploy` makes, as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import wraps
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from loihi_deploy.checked import Range, fits, misfits
from loihi_deploy.encoders import ENCODERS
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.checks import hints
from loihi_deploy.ir.content import Content

TARGET_RATE = 700.0
"""Default firing rate in Hz that a percentile of a layer's rates is scaled to."""
PERCENTILE = 99.9
"""Default percentile of a layer's firing rates."""
READOUT_WINDOW = 0.5
"""Default part of the presentation, its last, that outputs are averaged over."""
DEFAULT_STEPS = 100
"""Presentation time in steps where nothing else is said."""
ENCODER_RATE = 1000.0
"""Default highest firing rate in Hz of neurons on the host."""
Rate = Annotated[float, Range(1e-3, 1e5)]
"""A firing rate in Hz."""
Percentile = Annotated[float, Range(0.0, 100.0)]
Window = Annotated[float, Range(1e-6, 1.0)]
"""The last part of a presentation."""
WEIGHT_BITS = (8, 6, 5, 4, 3, 2)
"""Bits of a stored weight that a program can have."""
Normalization = Literal["auto", "percentile", "maximum", "thresholds", "search", "scale_firing_rates", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
Backend = Literal["emulator", "numpy", "nengo_loihi", "hardware", "reference"]
"""What runs a program: our compiled engine, our plain one, nengo-loihi's emulator (also by its old name, 'reference'),
or the chip through nengo-loihi and NxSDK."""
BACKENDS: tuple[Backend, ...] = ("emulator", "numpy", "nengo_loihi", "hardware")
BACKEND_ALIASES: Mapping[Any, Backend] = {"reference": "nengo_loihi"}
RENAMED = {"balance_steps": "bias_correction_steps"}
"""Options that once had another name, by that name: callers and saved files may go on using it."""

_Options = TypeVar("_Options", bound="DeployOptions")


def _remembers(kind: type[_Options]) -> type[_Options]:
    """Let a type's options be given by the names that they once had, and let it know which were given."""
    made: Callable[..., None] = kind.__init__

    @wraps(made)
    def init(self: _Options, *args: Any, **values: Any) -> None:
        for old, new in RENAMED.items():
            if old in values and new in values:
                raise InputError.single(f"given twice: the option is now called {new!r}", old)
            if old in values:
                values[new] = values.pop(old)
        made(self, *args, **values)
        names = [item.name for item in fields(self)]
        given = {*names[: len(args)], *values}
        if given >= set(names):  # as `dataclasses.replace` does it: those that are not the default ones
            default = kind()
            given = {name for name in names if getattr(self, name) != getattr(default, name)}
        object.__setattr__(self, "given", frozenset(given))

    kind.__init__ = init  # type: ignore[method-assign, assignment]
    return kind


@_remembers
@dataclass(frozen=True, eq=False)
class DeployOptions(Content):
    """Options of `loihi_deploy.deploy`.

    Parameters
    ----------
    neuron : {'if', 'lif'}
        What the rectified linear neurons of the chip become: integrate-and-fire (spiking rectified linear), or leaky
        integrate-and-fire neurons that stand in for them (see `loihi_deploy.with_leaky_neurons`). Leaky neurons of the
        source stay what they are.
    synapse : float
        Time constant in seconds of the lowpass synapses of a Keras model; 0 for none. Other sources keep theirs.
    layer_synapses : dict of float
        Time constants in seconds of the synapses into chosen layers, by name; of every source.
    dt : float
        Step in seconds for sources that do not have one; of a NIR graph the step that its times are counted in.
    encoder : {'auto', 'first_layer', 'on_off', 'bias', 'poisson', 'ttfs', 'events'}
        What turns input values into spikes on the host: the network's own first layer, or an on and an off neuron for
        each input value (weights +1 and -1), put in front so that the first layer stays on chip. 'auto' takes the first
        layer where it is a 1x1 convolution. 'poisson' does as 'auto', with neurons that spike at random at these rates;
        'ttfs' with neurons that spike once, the earlier the larger the value (time to first spike). 'bias' needs no
        spikes from the host: values are bias currents of neurons on chip, put in front. 'events' takes values that are
        spikes already, 0 or 1, one frame for each step (`steps_per_frame` is 1): see `loihi_deploy.data.camera_frames`.
    normalization : {'auto', 'percentile', 'maximum', 'thresholds', 'search', 'scale_firing_rates', 'none'}
        How firing rates are set. From calibration data: so that a percentile of each layer's rates, or their maximum,
        is `target_rate`; so that the percentile of the integer network's rates is ('thresholds'); or from there on by
        trying other rates for each layer and keeping what agrees best with the rate network ('search', some minutes).
        By hand: `scale_firing_rates`. Or not at all: the source's own gains. 'auto' keeps the `scale_firing_rates` of a
        Converter that has one, and does as 'percentile' elsewhere. Where rates are set from data, leaky neurons and
        nengo-loihi's keep their gains: their curves would change with them.
    scale_firing_rates : float or dict of float
        Factor on the firing rates of all layers, or of those named, for the normalization of that name; as the
        argument of `nengo_dl.Converter`.
    target_rate : float
        Firing rate in Hz for neurons on chip.
    percentile : float
        0..100.
    encoder_rate : float
        Highest firing rate in Hz of neurons on the host; at most 1 / dt, since a spike per step is what the chip takes.
    encoder_percentile : float
        Percentile, 50..100, of the firing rates of the network's own first layer, where it is the encoder, that becomes
        `encoder_rate`. Neurons above it spike in each step and say no more than that, the others say more.
    bias_correction_steps : int
        Presentation time in steps at which the integer network is corrected from calibration data for what the chip's
        neurons do differently (see `loihi_deploy.correct_biases`); 0 for no correction. Sequences are presented for at
        least so many: as many for each frame. Was ``balance_steps``.
    equalize : bool
        Scale channels so that each uses the weights' bits equally well (see `loihi_deploy.stages.equalize`). It
        raises the rates of weak channels: better where weights are very uneven, worse where these then saturate.
    weight_percentile : float
        Percentile of weight magnitudes that becomes the largest integer; larger weights are clipped.
    weight_bits : {8, 6, 5, 4, 3, 2}
        Bits of a stored weight, sign included: fewer take less of a core's memory. With fewer than 8 each layer's
        weights are clipped where the squared error is least, unless `weight_percentile` says where.
    rounding : {'nearest', 'mean'}
        Weights to the nearest integer, or so that the mean input of every neuron is kept on calibration data.
    readout_window : float
        Outputs are averaged over this last part of the presentation, 0..1.
    steps : int or 'auto', optional
        Presentation time in steps of inputs that stand still, for which everything is chosen on calibration data:
        synapses of a Keras model (1 ms), target rate, percentile of the encoder, steps of the bias correction, voltages
        at the start and readout window. Options that are given stay. Runs are of this length unless they say otherwise.
        'auto' is the shortest of some times that loses at most `max_drop`.
    max_drop : float
        For 'auto': how far accuracy may be below the source's on calibration data, as a fraction, counted and expected
        (by how sure the source has reason to be of its decisions, in which luck counts less); without labels how many
        decisions may differ from the source's, and the relative error where there is one output value.
    steps_per_frame : int, optional
        Steps that each frame of a sequence is shown, in the bias correction and in runs that say nothing else. If not
        given, as many as make 100 steps, or `bias_correction_steps`, at least.
    max_host_spikes : int, optional
        Most messages that the host sends to a chip in a step; a spike takes one for each core that it goes to. Neurons
        of the host fire at lower rates, so that nearly all calibration samples keep it on average, their synapses on
        chip are slower, so that fewer spikes say as much, and spikes beyond the limit wait for later steps. Runs on
        hardware can then be streamed. As many as the neurons emit if not given.
    readout : {'auto', 'window', 'mean', 'last', 'each'}
        Steps of a sequence that outputs are averaged over: those of all frames, those of the last frame, those of each
        frame by itself (an answer for every frame), or the readout window. 'auto' does as the source where it says so
        ('mean' behind a `GlobalAveragePooling1D` over time), and takes the window elsewhere. Samples that stand still
        are read in the window.
    flush : int, optional
        Steps that the last frame of a sequence is held longer, so that the answer to it arrives: all that is read is
        read so many steps later. If not given, the network's latency: a step for each hop, and the delays of synapses
        of 10 ms or less (longer ones are memory), or 0 for networks that take spikes, of netx and NIR. 0 reads frames
        while they are shown.

    Attributes
    ----------
    given : frozenset of str
        Names of the options that were given, also where they are the default ones; behind `dataclasses.replace`, of
        those that are not.

    Raises
    ------
    InputError
        Listing every option that is out of range.
    """

    given: ClassVar[frozenset[str]] = frozenset()

    neuron: Literal["if", "lif"] = "if"
    synapse: float = 0.003
    layer_synapses: Mapping[str, float] = field(default_factory=dict)
    dt: float = 0.001
    encoder: str = "auto"
    normalization: Normalization = "auto"
    scale_firing_rates: float | Mapping[str, float] = 1.0
    target_rate: float = TARGET_RATE
    percentile: float = PERCENTILE
    encoder_rate: float = ENCODER_RATE
    bias_correction_steps: int = 100
    equalize: bool = False
    weight_percentile: float = 100.0
    weight_bits: int = 8
    rounding: Literal["nearest", "mean"] = "nearest"
    readout_window: float = READOUT_WINDOW
    steps: int | Literal["auto"] | None = None
    max_drop: float = 0.005
    steps_per_frame: int | None = None
    readout: Literal["auto", "window", "mean", "last", "each"] = "auto"
    flush: int | None = field(default=None, metadata={"since": 2})
    max_host_spikes: int | None = field(default=None, metadata={"since": 2})
    encoder_percentile: float = field(default=100.0, metadata={"since": 2})

    def __post_init__(self) -> None:
        timed = isinstance(self.encoder, str) and self.encoder == "events"
        if timed and self.steps_per_frame is None and self.steps is None:
            object.__setattr__(self, "steps_per_frame", 1)
        choices: dict[str, tuple[str, ...]] = {
            "neuron": ("if", "lif"),
            "encoder": tuple(ENCODERS),
            "normalization": NORMALIZATIONS,
            "rounding": ("nearest", "mean"),
            "readout": ("auto", "window", "mean", "last", "each"),
        }
        ranges = {
            "synapse": (0.0, 10.0),
            "dt": (1e-5, 1.0),
            "target_rate": (1e-3, 1e5),
            "encoder_rate": (1e-3, 1e5),
            "encoder_percentile": (50.0, 100.0),
            "bias_correction_steps": (0, 10_000),
            "percentile": (50.0, 100.0),
            "weight_percentile": (50.0, 100.0),
            "readout_window": (1e-6, 1.0),
            "max_drop": (0.0, 1.0),
        }
        kinds = hints(type(self))  # type: ignore[arg-type]  # as in `check_fields`
        problems = misfits(self.as_dict(), kinds)
        fitting = [name for name, value in self.as_dict().items() if fits(value, kinds[name])]
        for name, known in choices.items():
            value = getattr(self, name)
            if name in fitting and value not in known:
                near = get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
                problems.append(Problem("unknown choice", name, value, " or ".join(known), f"Try {near!r}"))
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if name in fitting and not low <= value <= high:
                problems.append(Problem("out of range", name, value, f"{low:g} to {high:g}"))
        if "weight_bits" in fitting and self.weight_bits not in WEIGHT_BITS:
            allowed = ", ".join(map(str, WEIGHT_BITS))
            problems.append(
                Problem("not a number of bits of a weight", "weight_bits", self.weight_bits, allowed)
            )
        if (
            "steps" in fitting
            and self.steps not in ("auto", None)
            and (isinstance(self.steps, str) or not 1 <= self.steps <= 10_000)
        ):
            problems.append(Problem("not a presentation time", "steps", self.steps, "1 to 10000, or 'auto'"))
        if "max_host_spikes" in fitting and self.max_host_spikes is not None and self.max_host_spikes < 1:
            problems.append(Problem("out of range", "max_host_spikes", self.max_host_spikes, "1 or more"))
        if "steps_per_frame" in fitting and self.steps_per_frame is not None:
            if not 1 <= self.steps_per_frame <= 10_000:
                problems.append(
                    Problem("out of range", "steps_per_frame", self.steps_per_frame, "1 to 10000")
                )
            elif self.steps is not None:
                remedy = "Leave one of them out: steps are those of samples that stand still"
                problems.append(
                    Problem("given together with steps_per_frame", "steps", self.steps, remedy=remedy)
                )
        if "flush" in fitting and self.flush is not None and not 0 <= self.flush <= 10_000:
            problems.append(Problem("out of range", "flush", self.flush, "0 to 10000"))
        for name, tau in self.layer_synapses.items() if "layer_synapses" in fitting else ():
            if not 0 <= tau <= ranges["synapse"][1]:
                problems.append(Problem("out of range", f"layer_synapses[{name!r}]", tau, "0 to 10"))
        if problems:
            raise InputError("The options are not usable", problems)

    @property
    def balance_steps(self) -> int:
        """`bias_correction_steps` by its former name."""
        return self.bias_correction_steps

    def as_dict(self) -> dict[str, Any]:
        """The options by name, as plain values."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
