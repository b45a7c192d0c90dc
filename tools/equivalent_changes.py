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
        "mapping/shapes.py",
        "[sorted(seen) + [max(seen)] * (n_profiles - len(seen)) for seen in found], dtype=np.int64",
        "max(seen)",
        "min(seen)",
    ): "rows that are left over repeat one that is there, and the largest of all counts",
}
