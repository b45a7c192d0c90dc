"""Changes that change nothing: file, line as it stands, what is replaced, by what; and why nobody can notice."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    ("engines/chip/kernels.py", "HAS_CURRENT, HAS_CHANGED, HAS_WIDE = 1, 2, 4", "4", "3"): (
        "all blocks with currents are then multiplied as wide ones, which is right for narrow ones, too, and slower"
    ),
    ("engines/chip/compiled.py", "small = 1 << (31 - arithmetic.decay_bits)", "1", "2"): (
        "fewer spikes are then taken together, which is right for them, too, and slower"
    ),
    ("engines/delivery.py", "return np.zeros(n // BLOCK + 1, np.uint8)", "1", "2"): "room for a mark more",
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
    ("engines/chip/kernels.py", "NO_NOISE, NOISE_IN_Q, NOISE_AT_MEMBRANE = 0, 1, 2", "2", "3"): (
        "a number by which one kind is told from the others, and any other does"
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
        'self._drawn = [p for p in graph.populations if p.neuron.kind == "poisson"]  # anew for every sample',
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
    ("analysis/presentation.py", "ANY = 1", "1", "2"): "programs that are tried are the same for any time",
}
