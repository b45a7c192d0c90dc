"""Changes of the engines, the compiled chip above all, that change nothing, as in `equivalent_changes`."""

COMPILED = "engines/chip/compiled.py"
IN_ENGINES: dict[tuple[str, str, str, str], str] = {
    (COMPILED, line, old, new): reason
    for reason, changes in (
        (
            "a few weights of 0 more, or spikes of them, are then looked at, which adds nothing",
            (
                (
                    "int(np.abs(s.transform.values.astype(np.int64)).max(initial=0)) << (s.shift - shift)",
                    *("0", "1"),
                ),
                ("default=0,", "0", "1"),
            ),
        ),
        (
            "a threshold is a multiple of 2^6, and a highest voltage is one less than one",
            (
                (
                    "k.PLAIN_VOLTAGE: p.refractory <= 1 and keeps_voltage and p.threshold < p.v_max,",
                    *("p.threshold < p.v_max", "(p.threshold <= p.v_max)"),
                ),
                (
                    "return loss if fits and p.threshold < p.v_max else -1",
                    *("p.threshold < p.v_max", "(p.threshold <= p.v_max)"),
                ),
            ),
        ),
        (
            "no product of a loss and a bound of voltages, a power of two less one, lies between",
            (
                ("fits = max(-p.v_min, largest_v) * loss < 2**31 - 2**16", "16", "15"),
                ("fits = max(-p.v_min, largest_v) * loss < 2**31 - 2**16", "16", "17"),
                (
                    "fits = max(-p.v_min, largest_v) * loss < 2**31 - 2**16",
                    "max(-p.v_min, largest_v) * loss < 2**31 - 2**16",
                    "(max(-p.v_min, largest_v) * loss <= 2 ** 31 - 2 ** 16)",
                ),
            ),
        ),
        (
            "places are whole blocks",
            (
                (
                    "widths = self.n_pending, self.n_held_back, self.n_places // BLOCK",
                    *("self.n_places // BLOCK", "(-(-(self.n_places) // (BLOCK)))"),
                ),
                (
                    "n, blocks = self.n_places, self.n_places // BLOCK",
                    *("self.n_places // BLOCK", "(-(-(self.n_places) // (BLOCK)))"),
                ),
            ),
        ),
        (
            "a sender has no two lines of one length",
            (
                (
                    "if name not in delayed or delayed[name].shape[1] < shape[0]:",
                    *("delayed[name].shape[1] < shape[0]", "(delayed[name].shape[1] <= shape[0])"),
                ),
            ),
        ),
        (
            "room that nothing reads or writes",
            (
                ("return np.zeros((steps, 0), np.int32)", "0", "1"),
                *(
                    ("np.concatenate(taken, axis=2) if taken else np.zeros((n, 1, 0), np.int32),", *change)
                    for change in (("1", "2"), ("1", "0"), ("0", "1"))
                ),
                ("np.empty((k.AT_A_TIME + 1) * self._n_spike_places, np.int32),", "1", "2"),
                ("np.zeros((k.AT_A_TIME + 1, len(self.network.spikes_first)), np.int64),", "1", "2"),
            ),
        ),
        (
            "the sum over one sample is that sample's",
            (("total = (counts[0] if len(counts) == 1 else counts.sum(axis=0)).tolist()", "1", "0"),),
        ),
        (
            "sums are multiples of 2^6",
            (
                (
                    "if bound.q[0] < limit.min or bound.q[1] > limit.max",
                    *("bound.q[1] > limit.max", "(bound.q[1] >= limit.max)"),
                ),
            ),
        ),
    )
    for line, old, new in changes
}
RESTS = "if arrived or noisy or moving[b] & HAS_CURRENT:"
IN_ENGINES |= {
    ("engines/chip/kernels.py", line, old, new): reason
    for reason, changes in (
        (
            "at a bound itself both give the bound",
            (
                ("reached = reached if reached > v_min else v_min", "reached > v_min", "(reached >= v_min)"),
                ("reached = reached if reached < v_max else v_max", "reached < v_max", "(reached <= v_max)"),
            ),
        ),
        (
            "of nothing nothing is lost",
            (
                (
                    "lost = int32(int32(int32(old * loss) + (mask if old > 0 else int32(0))) >> bits)",
                    *("old > 0", "(old >= 0)"),
                ),
            ),
        ),
        (
            "a slower way is then taken, which gives the same",
            (
                ("continue  # it rests", "continue", "pass"),
                (
                    "plain = fits and not moving[b] & HAS_WIDE",
                    *("moving[b] & HAS_WIDE", "(moving[b] | HAS_WIDE)"),
                ),
                (RESTS, "moving[b] & HAS_CURRENT", "(moving[b] | HAS_CURRENT)"),
                ("if plain and loss_v >= 0:", "loss_v >= 0", "(loss_v > 0)"),
                ("if plain and loss_v >= 0:", "0", "1"),
                ("if p[REFRACTORY] > 1:", "p[REFRACTORY] > 1", "(p[REFRACTORY] >= 1)"),
                ("if p[REFRACTORY] > 1:", "1", "0"),
                ("| (HAS_WIDE if current >> (31 - bits) != 0 else 0)", "31", "30"),
                (
                    "narrow = p[NARROW] != 0 or n_arriving <= p[BUDGET]",
                    *("n_arriving <= p[BUDGET]", "(n_arriving < p[BUDGET])"),
                ),
                (
                    "narrow = p[NARROW] != 0 or n_arriving <= p[BUDGET]",
                    *(
                        "p[NARROW] != 0 or n_arriving <= p[BUDGET]",
                        "(p[NARROW] != 0 and n_arriving <= p[BUDGET])",
                    ),
                ),
                (
                    "fits = n_arriving <= p[FITTING]",
                    *("n_arriving <= p[FITTING]", "(n_arriving < p[FITTING])"),
                ),
                ("lift, delivered = 0, False", "False", "True"),
                ("delivered |= left > 0", "left > 0", "(left >= 0)"),
                (
                    "if narrow and delivered and projections[r, LIFT] < lift:",
                    *("projections[r, LIFT] < lift", "(projections[r, LIFT] <= lift)"),
                ),
                ("if records.shape[0] > 0:", "records.shape[0] > 0", "(records.shape[0] >= 0)"),
                (
                    "if driven.shape[0] > 0 and (begin + t == 0 or step % hold == 0):",
                    *("driven.shape[0] > 0", "(driven.shape[0] >= 0)"),
                ),
            ),
        ),
        (
            "both sides are the same number there",
            (
                ("n = left if narrow or left < AT_ONCE else AT_ONCE", "left < AT_ONCE", "(left <= AT_ONCE)"),
                (
                    "n_steps = AT_A_TIME if steps - begin > AT_A_TIME else steps - begin",
                    *("steps - begin > AT_A_TIME", "(steps - begin >= AT_A_TIME)"),
                ),
                (
                    "if driven.shape[0] > 0 and (begin + t == 0 or step % hold == 0):",
                    *("begin + t", "(begin - t)"),  # of steps below 16 none is 16 or more
                ),
            ),
        ),
        (
            "populations begin at whole blocks",
            (
                (
                    "for b in range(first // BLOCK, (first + p[SIZE] + BLOCK - 1) // BLOCK):",
                    *("first // BLOCK", "(-(-(first) // (BLOCK)))"),
                ),
                (
                    "first_block, end_block = p[FIRST] // BLOCK, (p[FIRST] + p[SIZE] + BLOCK - 1) // BLOCK",
                    *("p[FIRST] // BLOCK", "(-(-(p[FIRST]) // (BLOCK)))"),
                ),
            ),
        ),
    )
    for line, old, new in changes
}
MARK = "any number but 0 is a mark"
ROOM = "room that nothing reads or writes"
DELIVERY = "engines/delivery.py"
IN_ENGINES |= {
    ("engines/chip/kernels.py", "line[event_indices[k]] = 1", "1", "2"): MARK,
    ("engines/chip/kernels.py", "held_back[row + spikes[sent_first + k]] = 1", "1", "2"): MARK,
    (DELIVERY, "touched[block] = touched[last] = 1", "1", "2"): MARK,
    (DELIVERY, "touched[between] = 1", "1", "2"): MARK,
    (DELIVERY, "touched[target >> BLOCK_SHIFT] = 1", "1", "2"): MARK,
    (
        DELIVERY,
        "return Layout(table, np.concatenate([*geometry, np.zeros(1, np.int32)]), together)",
        "1",
        "2",
    ): ROOM,
    (
        DELIVERY,
        "return Layout(table, np.concatenate([*geometry, np.zeros(1, np.int32)]), together)",
        "1",
        "0",
    ): ROOM,
    (DELIVERY, "return aligned.zeros(2 * -(-n // 64), np.uint64)", "2", "3"): ROOM,
    (DELIVERY, "return aligned.zeros(2 * -(-n // 64), np.uint64)", "64", "63"): ROOM,
    (DELIVERY, "return fields, np.zeros(0, np.int32), rows", "0", "1"): ROOM,
    (
        DELIVERY,
        "taps = [place[y - o * stride] if n else 0 for y, o, n in zip(padded, first, count, strict=True)]",
        *("0", "1"),
    ): "what meets no output has no tap",
    (
        DELIVERY,
        "if few or fields[KIND] == SPARSE or fields[GROUP_OUT] < fields[OUT_CHANNELS]:",
        *("fields[GROUP_OUT] < fields[OUT_CHANNELS]", "(fields[GROUP_OUT] <= fields[OUT_CHANNELS])"),
    ): "spikes are then delivered one by one, which adds the same, and is slower",
    (
        DELIVERY,
        "if k < end and index < uint64(spikes[k]) < (pixel + ONE) * channels:",
        "index < uint64(spikes[k]) < (pixel + ONE) * channels",
        "(index <= uint64(spikes[k]) < (pixel + ONE) * channels)",
    ): "no neuron spikes twice in a step",
    (
        DELIVERY,
        "return builder.cttz(arguments[0], context.get_constant(types.boolean, True))",
        *("True", "False"),
    ): "there is a bit that is 1",
}
IN_ENGINES |= {
    (path, line, old, f"(-(-({left}) // ({right})))"): "it divides evenly"
    for path, line, left, right in (
        (
            "engines/chip/compiled.py",
            "hold = next((steps // frames.shape[1] for frames in (biases or {}).values()), 1)",
            *("steps", "frames.shape[1]"),
        ),
        ("engines/chip/loops.py", "for b in range(u.size // BLOCK):", "u.size", "BLOCK"),
        (
            "engines/chip/overflow.py",
            "sums = [np.tile(part, transform.out_size // len(part)) for part in channels]",
            *("transform.out_size", "len(part)"),
        ),
        (
            "engines/delivery.py",
            "group_in, group_out = conv.kernel.shape[2], conv.kernel.shape[3] // conv.groups",
            *("conv.kernel.shape[3]", "conv.groups"),
        ),
        ("engines/host/plain.py", "hold = steps // n_frames", "steps", "n_frames"),
        (
            "engines/spiking_network.py",
            "hold = steps // next(iter(inputs.values())).shape[1]",
            *("steps", "next(iter(inputs.values())).shape[1]"),
        ),
        (
            "stages/equalize.py",
            "each: NDArray[np.float64] = np.tile(factors, population.size // channels)",
            *("population.size", "channels"),
        ),
        (
            "stages/rounding.py",
            "group = np.arange(out) // (out // transform.groups)",
            *("out", "transform.groups"),
        ),
    )
    for old in (f"{left} // {right}",)
}
