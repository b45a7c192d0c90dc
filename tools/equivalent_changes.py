"""Changes that change nothing: file, line as it stands, what is replaced, by what; and why nobody can notice."""

from equivalent_in_engines import IN_ENGINES

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    ("engines/chip/kernels.py", "HAS_CURRENT, HAS_CHANGED, HAS_WIDE = 1, 2, 4", "4", "3"): (
        "all blocks with currents are then multiplied as wide ones, which is right for narrow ones, too, and slower"
    ),
    ("engines/chip/compiled.py", "small = 1 << (31 - arithmetic.decay_bits)", "1", "2"): (
        "fewer spikes are then taken together, which is right for them, too, and slower"
    ),
    (
        "engines/host/biases.py",
        "found[name] = (mantissa << exponent).reshape(n, n_frames, -1)",
        "1",
        "2",
    ): "numpy takes any negative length for what is left",
    (
        "engines/chip/overflow.py",
        "noise = (0, 0)",
        "0",
        "1",
    ): "it is read where there is noise alone, whose it then is",
    ("engines/host/kernels.py", "gathers = filtered.shape[1] == 0 and hold >= WORTH_GATHERING", "1", "0"): (
        "neurons that a drive cannot move are then stepped, too, which leaves them as they are, and is slower"
    ),
    ("engines/host/encoder.py", "n_filtered = 0", "0", "1"): "a place in front that nothing reads",
    (
        "engines/kept_code.py",
        'if not hasattr(llvm, "create_pass_builder"):  # llvmlite before 0.44',
        'not hasattr(llvm, "create_pass_builder")',
        "not (not hasattr(llvm, 'create_pass_builder'))",
    ): "the same code is then optimized otherwise, and takes longer",
    (
        "mapping/search.py",
        "chosen = np.full((1, len(order)), -1)",
        "1",
        "2",
    ): "any number below 0 is one not chosen yet",
    ("engines/threads.py", "future.cancel()", "future.cancel()", "pass"): (
        "what was begun ahead is then worked off behind an error, which is told as it is, later"
    ),
    (
        "engines/host/encoder.py",
        'self.drawn = [p for p in graph.populations if p.neuron.kind == "poisson"]  # anew for every sample',
        'p.neuron.kind == "poisson"',
        "True",
    ): "others are then given for every sample what is given to all at once, which is slower",
    (
        "analysis/reporting.py",
        "place = np.full(size, -1, np.int64)",
        "1",
        "2",
    ): "any place below 0 is one not shown",
    (
        "analysis/reporting.py",
        "steps: int = 0,",
        "0",
        "1",
    ): "they are read where there are samples, which come with them",
    ("analysis/host_link.py", "if costs.max(initial=0) > limit:", "0", "1"): "a limit is at least 1",
    (
        "mapping/shapes.py",
        "[sorted(seen) + [max(seen)] * (n_profiles - len(seen)) for seen in found], dtype=np.int64",
        "max(seen)",
        "min(seen)",
    ): "rows that are left over repeat one that is there, and the largest of all counts",
    (
        "mapping/usage.py",
        "{(p.decay_u, p.decay_v, p.refractory, p.noise is not None) for p in compartments}",
        "p.noise is not None",
        "(p.noise is None)",
    ): "two are told apart by that as well as by its opposite",
    (
        "mapping/plan.py",
        "lanes = np.arange(self.shape[2] // self.lane).reshape(-1, 1, 1, 1) * (rows * columns)",
        "self.shape[2] // self.lane",
        "(-(-(self.shape[2]) // (self.lane)))",
    ): "a lane divides the channels of its slice, which is checked",
    (
        "mapping/shapes.py",
        "_MOST_WAYS = 64",
        "64",
        "65",
    ): "no product of the 1 to 6 ways of some projections is 65",
    (
        "mapping/shapes.py",
        "_SPARSE = 8",
        "8",
        "9",
    ): "a table and sorting count alike, for which a test stands",
    (
        "mapping/shapes.py",
        "_SPARSE = 8",
        "8",
        "7",
    ): "a table and sorting count alike, for which a test stands",
    (
        "mapping/shapes.py",
        "if end > _SPARSE * len(numbers):",
        "end > _SPARSE * len(numbers)",
        "(end >= _SPARSE * len(numbers))",
    ): "a table and sorting count alike, for which a test stands",
    ("mapping/counts.py", "_REMEMBERED = 2000", "2000", "2001"): "what was forgotten is counted again",
    ("mapping/counts.py", "_REMEMBERED = 2000", "2000", "1999"): "what was forgotten is counted again",
    (
        "mapping/counts.py",
        "if len(self._known) > _REMEMBERED:",
        "len(self._known) > _REMEMBERED",
        "(len(self._known) >= _REMEMBERED)",
    ): "what was forgotten is counted again",
    (
        "mapping/placement.py",
        "improved = False",
        "False",
        "True",
    ): "a sweep that changes nothing is made once more",
    (
        "mapping/placement.py",
        "near = near + traffic[core] / (total if relative else 1.0)",
        "1.0",
        "1.5",
    ): "where all count alike, the nearest is the same by any measure",
    (
        "mapping/placement.py",
        "core = int(np.where(left, near, -1.0).argmax())",
        "1.0",
        "1.5",
    ): "any number below 0 is less than all",
    (
        "mapping/placement.py",
        "if len(traffic) <= capacity:",
        "len(traffic) <= capacity",
        "(len(traffic) < capacity)",
    ): "cores that just fill a chip are all on it either way",
    (
        "mapping/placement.py",
        "if saved_a.max() + saved_b.max() <= _NOTHING:",
        "saved_a.max() + saved_b.max() <= _NOTHING",
        "(saved_a.max() + saved_b.max() < _NOTHING)",
    ): "a number that only rounding makes comes out as exactly this one never",
    (
        "mapping/placement.py",
        "if gain[i, j] <= _NOTHING:",
        "gain[i, j] <= _NOTHING",
        "(gain[i, j] < _NOTHING)",
    ): "a number that only rounding makes comes out as exactly this one never",
    (
        "mapping/placement.py",
        "if gain[a, b] <= _NOTHING:",
        "gain[a, b] <= _NOTHING",
        "(gain[a, b] < _NOTHING)",
    ): "a number that only rounding makes comes out as exactly this one never",
    (
        "mapping/layout.py",
        "return PixelAxons(empty, empty, empty, np.zeros((0, 5), np.int64))",
        "5",
        "6",
    ): "no row of it is ever read",
    (
        "analysis/reporting.py",
        "rates = backends.firing_rates(parts.program, some, steps, 1.0)",
        "1.0",
        "1.5",
    ): "no window is longer than the presentation",
    ("analysis/presentation.py", "ANY = 1", "1", "2"): "programs that are tried are the same for any time",
    (
        "analysis/fading.py",
        "step = 1e-4 * max(1.0, float(np.abs(bias).max(initial=0.0)))",
        "1e-4",
        "0.00015000000000000001",
    ): "a slope is the same by any step that is small",
    (
        "analysis/fading.py",
        "step = 1e-4 * max(1.0, float(np.abs(bias).max(initial=0.0)))",
        "1.0",
        "1.5",
    ): "a slope is the same by any step that is small",
    (
        "analysis/fading.py",
        "step = 1e-4 * max(1.0, float(np.abs(bias).max(initial=0.0)))",
        "0.0",
        "1.0",
    ): "it is 1 at least in any case",
    (
        "analysis/remedies.py",
        "decisions = rate_decisions(source, samples, options, steps // samples.n_frames)",
        "steps // samples.n_frames",
        "(-(-(steps) // (samples.n_frames)))",
    ): "the steps of a presentation are a multiple of its frames",
    (
        "analysis/stage_runs.py",
        "window, hold, n = self.how.window, self.steps // samples.n_frames, len(samples)",
        "self.steps // samples.n_frames",
        "(-(-(self.steps) // (samples.n_frames)))",
    ): "the steps of a presentation are a multiple of its frames",
    (
        "analysis/reporting.py",
        "unit = steps // samples.n_frames if samples.n_frames > 1 else 1",
        "steps // samples.n_frames",
        "(-(-(steps) // (samples.n_frames)))",
    ): "the steps of a presentation are a multiple of its frames",
    ("analysis/stage_runs.py", "SPIKING: spiking.reshape(n, -1),", "1", "2"): (
        "numpy takes any negative length for what is left"
    ),
    ("analysis/stage_runs.py", "INTEGER: result.outputs.reshape(n, -1),", "1", "2"): (
        "numpy takes any negative length for what is left"
    ),
    ("analysis/presentation.py", "steps, hops = int(options.steps or 0), _hops(program)", "0", "1"): (
        "a presentation time is there wherever this is asked"
    ),
    ("analysis/presentation.py", "how = RunOptions(int(options.steps or 0), progress=False)", "0", "1"): (
        "a presentation time is there wherever this is asked"
    ),
    (
        "analysis/verify.py",
        "hold, steps = options.hold(samples.n_frames), options.steps or 0",
        "0",
        "1",
    ): "a presentation time is there wherever this is asked",
}

EQUIVALENT |= dict.fromkeys(
    (
        (module, line, "1", "2")
        for module, line in (
            (
                "mapping/assembly.py",
                "return np.array(rows, dtype=np.int64).reshape(-1, 5), tuple(flow.population for flow in ordered)",
            ),
            (
                "mapping/counts.py",
                "starts = np.array([piece.start for piece in pre], dtype=np.int64).reshape(-1, 3)",
            ),
            (
                "mapping/counts.py",
                "stops = np.array([piece.stop for piece in pre], dtype=np.int64).reshape(-1, 3)",
            ),
            (
                "mapping/explain.py",
                'synapses = Synapses("pooled", name, Dense(kept.reshape(len(weights), -1)), into[0].shift)',
            ),
            ("mapping/explain.py", "return Dense(weights.reshape(transform.out_size, -1))"),
            ("mapping/explain.py", "return Dense(weights.reshape(-1, transform.in_size))"),
            ("mapping/explain.py", "bias = population.bias.reshape(grid)[..., :channels].reshape(-1)"),
            (
                "mapping/layout.py",
                "position = (rows.first[i][:, None] * width + columns.first[j]).reshape(-1) * piece.lane + piece.lead",
            ),
            ("mapping/layout.py", "return PixelAxons(pixels, base, set_of.reshape(-1), sets)"),
            ("mapping/layout.py", "weights.append(values.reshape(len(atoms), -1))"),
            ("mapping/layout.py", "indices.append(index.reshape(len(atoms), -1).astype(np.int32))"),
            ("mapping/plan.py", "return self.offset + self.lead + inside.reshape(-1)"),
            ("mapping/shapes.py", "return np.array(made, dtype=np.int64).reshape(-1, 3)"),
            ("mapping/shapes.py", "sizes = (sizes[:, None] * parts).reshape(-1)"),
            ("mapping/shapes.py", "return place.reshape(-1), sizes"),
            ("mapping/shapes.py", "row_of, column_of = row_of.reshape(-1), column_of.reshape(-1)"),
            ("analysis/calibrate.py", "ideal = ideal.reshape(len(ideal), -1)"),
            (
                "analysis/calibrate.py",
                "outputs = backends.run(program, samples, how).outputs.reshape(len(ideal), -1)",
            ),
            (
                "analysis/frames.py",
                "found = rate_activity(graph, {name: x.reshape(-1, x.shape[2]) for name, x in frames.items()})",
            ),
            (
                "analysis/frames.py",
                "yield part, {name: values.reshape(m, n_frames, -1) for name, values in found.items()}",
            ),
            (
                "analysis/presentation.py",
                "self._values = values.reshape(len(samples), -1).astype(np.float64)",
            ),
            (
                "analysis/remedies.py",
                "decisions = readout.classes(outputs.reshape(len(outputs), -1), activated=True)",
            ),
            (
                "analysis/reporting.py",
                "decided = readout.classes(outputs.reshape(*labels.shape, -1), activated=True)",
            ),
            ("analysis/verify.py", "return readout.classes(outputs.reshape(len(outputs), -1), activated)"),
            ("analysis/verify.py", "outputs = result.outputs.reshape(len(samples), -1)"),
        )
    ),
    "numpy takes any negative length for what is left",
)

# Numbers that either neighbour of is as good as: how much is done at a time.
EQUIVALENT |= {
    (file, line, str(number), str(number + more)): reason
    for file, line, number, reason in (
        ("engines/activity.py", "STEPS_AT_ONCE = 32", 32, "steps whose work is added up side by side"),
        ("engines/chip/kernels.py", "AT_ONCE = 255", 255, "16 bits hold 258 weights of 127"),
        (
            "engines/chip/kernels.py",
            "AT_A_TIME = 16",
            16,
            "steps of a group of populations before those of the next",
        ),
        ("engines/host/kernels.py", "WORTH_GATHERING = 8", 8, "from where on one of two ways is faster"),
        ("engines/rate_sequence.py", "SAMPLES_AT_ONCE = 100", 100, "samples that are evaluated at a time"),
        ("engines/spiking_network.py", "CHUNK = 8", 8, "samples that a thread runs at a time"),
    )
    for more in (1, -1)
}
EQUIVALENT |= {
    ("engines/spiking_network.py", "TRACE_BYTES = 1 << 25", old, new): "fewer or more samples run at a time"
    for old, new in (("1 << 25", "(1 >> 25)"), ("1", "2"), ("1", "0"), ("25", "26"), ("25", "24"))
}
EQUIVALENT |= {
    (
        file,
        f"{name} = {number}",
        str(number),
        str(number + 1),
    ): "a column more in a table, which nothing reads"
    for file, name, number in (
        ("engines/chip/kernels.py", "POPULATION_FIELDS", 19),
        ("engines/chip/kernels.py", "COUNT_FIELDS", 5),
        ("engines/delivery.py", "FIELDS", 13),
        ("engines/delivery.py", "PIXEL_FIELDS", 4),
    )
}
EQUIVALENT |= dict.fromkeys(
    (
        ("engines/chip/kernels.py", "NO_NOISE, NOISE_IN_Q, NOISE_AT_MEMBRANE = 0, 1, 2", "2", "3"),
        ("engines/chip/kernels.py", "RECORD_SPIKES, RECORD_U, RECORD_V = 0, 1, 2", "2", "3"),
        ("engines/delivery.py", "DENSE, SPARSE, CONV = 0, 1, 2", "2", "3"),
        (
            "engines/host/kernels.py",
            "IF, IF_DISCRETIZED, LIF, LIF_DISCRETIZED, POISSON, TTFS, IF_ADDING = 0, 1, 2, 3, 4, 5, 6",
            *("6", "7"),
        ),
    ),
    "a number by which one kind is told from the others, and any other does",
)
EQUIVALENT |= {
    ("engines/chip/kernels.py", "HAS_CURRENT, HAS_CHANGED, HAS_WIDE = 1, 2, 4", old, new): (
        "blocks are then also marked as what they are not, whose way is right for all, and slower"
    )
    for old, new in (("1", "2"), ("2", "3"), ("2", "1"), ("4", "5"))
}
OPTIONS = '_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}'
INLINED = "forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_PartCompiler, **_OPTIONS"
EQUIVALENT |= {
    ("engines/kept_code.py", line, old, new): "the same code is then compiled otherwise, or takes longer"
    for line, old, new in (
        (OPTIONS, "True", "False"),
        (OPTIONS, "False", "True"),
        (INLINED, "True", "False"),
        ("options.loop_vectorization, options.loop_interleaving = True, False", "True", "False"),
        ("options.loop_vectorization, options.loop_interleaving = True, False", "False", "True"),
        ("options = llvm.create_pipeline_tuning_options(speed_level=3)", "3", "2"),
    )
}
EQUIVALENT |= {
    (
        "engines/chip/compiled.py",
        "hold: int = 1,",
        "1",
        new,
    ): "it is read where biases are given, which it comes with"
    for new in ("0", "2")
}
EQUIVALENT |= {
    ("engines/host/neurons.py", "presentation: int = 1,", "1", new): "it is given wherever neurons look at it"
    for new in ("0", "2")
}
EQUIVALENT |= {
    ("engines/delivery.py", "if n_spikes > 0:", "n_spikes > 0", "(n_spikes >= 0)"): (
        "blocks that nothing reaches are then updated, too, which leaves them as they are, and is slower"
    ),
}
EQUIVALENT |= {
    ("stages/partition.py", "golden = (np.sqrt(5) - 1) / 2", "np.sqrt(5) - 1", "(np.sqrt(5) + 1)"): (
        "the ratio is then one more, which the remainder takes off again"
    ),
}
FEW = "few = uint64(n_spikes) < fields[OUT_SIZE] >> BLOCK_SHIFT"
EQUIVALENT |= {
    (
        "engines/delivery.py",
        FEW,
        old,
        new,
    ): "spikes are then delivered in the other of two ways, which adds the same"
    for old, new in (
        (FEW.removeprefix("few = "), "(uint64(n_spikes) <= fields[OUT_SIZE] >> BLOCK_SHIFT)"),
        ("fields[OUT_SIZE] >> BLOCK_SHIFT", "(fields[OUT_SIZE] << BLOCK_SHIFT)"),
    )
}
STEPS = "for n_steps in (5, 7):  # of one length alone a step counted from the start may be the last one"
HALVINGS = "halvings = max(0, int(np.ceil(np.log2(np.abs(both).sum(axis=1).max()))) + 5)"
EQUIVALENT |= {
    **{
        ("frontends/tensors.py", STEPS, old, new): (
            "any two lengths tell a step that is counted from the start from the last one"
        )
        for old, new in (("5", "4"), ("5", "6"), ("7", "6"), ("7", "8"))
    },
    (
        "frontends/tensors.py",
        "first = np.where(result[0] < 0, -1, result[0] - (n_steps - 1) * size)",
        "result[0] < 0",
        "(result[0] <= 0)",
    ): "element 0 is one of the first step, and refused either way",
    (
        "frontends/tensors.py",
        "inside = ((result[0] < 0) | (first >= 0)).all()",
        "result[0] < 0",
        "(result[0] <= 0)",
    ): "element 0 is one of the first step, and refused by what the second sample has",
    **{
        (path, line, "1", "2"): "any index below 0 stands for nothing"
        for path, line in (
            ("frontends/tensors.py", "source = np.where(flat < 0, -1, order[flat])"),
            ("frontends/tensors.py", "indices = np.full(shape, -1)"),
            ("frontends/keras_time.py", "places = np.full((n_steps, n_steps * size), -1)"),
            ("frontends/connections.py", "inverse = np.full(size, -1)"),
            ("frontends/nir.py", "place = np.full(late.size, -1)"),
        )
    },
    **{
        ("frontends/lmu_layers.py", line, old, new): "the series has converged to double precision either way"
        for line, old, new in (
            ("for k in range(1, 20):", "20", "21"),
            ("for k in range(1, 20):", "20", "19"),
            (HALVINGS, "5", "6"),
            (HALVINGS, "5", "4"),
            (
                HALVINGS,
                "np.ceil(np.log2(np.abs(both).sum(axis=1).max()))",
                "np.floor(np.log2(np.abs(both).sum(axis=1).max()))",
            ),
        )
    },
}
EQUIVALENT |= {
    (f"frontends/{path}.py", line, "1", "2"): "numpy takes any negative length for what is left"
    for path, line in (
        ("conversion_check", "return found.reshape(int(np.prod(found.shape[:leading])), -1)"),
        ("conversion_check", "found = node.activated(found).reshape(len(found), -1)"),
        ("conversion_check", "read[name] = values.reshape(-1, values.shape[2])"),
        ("keras_time", "columns = np.arange(n).reshape(-1, n_in)  # of each group"),
        ("keras_time", "rows = np.arange(n_out).reshape(len(columns), -1)"),
        ("netx", "weights = weights.reshape(size, -1)"),
        ("netx", "recurrent = Dense(mantissas.reshape(transform.out_size, -1))"),
        ("onnx_models", "images = given[node.name].reshape(-1, *node.shape).astype(np.float32)"),
        ("resampling", "values = found.reshape(len(pixels), -1)"),
        (
            "tensor_functions",
            "windows = x.indices().transpose([*kept, *axes]).reshape(*(x.shape[n] for n in kept), -1)",
        ),
        (
            "tensor_functions",
            "return replace(x, windows=windows.reshape(*shape, -1) if keepdims else windows)",
        ),
    )
}
EQUIVALENT |= IN_ENGINES
EQUIVALENT |= {
    (
        "stages/normalize.py",
        "return _saturating(scaled, samples, host & factors.keys()) if encoder_percentile < 100 else scaled",
        *("encoder_percentile < 100", "(encoder_percentile <= 100)"),
    ): "no neuron is faster than the fastest one, so nothing is lost",
}
