"""Images shown for few steps: a rate network deployed as it is, and trained on for the chip.

    python examples/few_steps.py [--data FOLDER] [--digits] [--seeds 3] [--epochs 12] [--tune 3] [--keep FOLDER]

FOLDER holds Fashion-MNIST or MNIST in IDX files (a part of Fashion-MNIST if not given). For each seed a rate network is
trained, then for each presentation time (or once for all, --tuned-for) fine-tuned: trained on with the chip's neurons,
and without, of which `fine_tune` gives back what is better on chip on validation samples (--tune 0 does neither).
Options are chosen on validation samples; the rest is of test images, energy and time of the first 500. A drop is that
from the network trained for as long, in floats. With --keep, a killed run goes on.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import loihi_deploy as ld
from loihi_deploy.training import few_steps_convnet, fine_tune, folded, moved_images, retrain

ENERGY = 500  # test images that energy and time are estimated on, which takes long


def main() -> None:
    """Train, tune, deploy, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with IDX files")
    parser.add_argument("--digits", action="store_true", help="images are not mirrored in training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--epochs", type=int, default=12, help="of the rate network")
    parser.add_argument(
        "--tune", type=int, default=3, help="epochs of fine-tuning, and of training on beside it"
    )
    parser.add_argument(
        "--tuned-for", type=int, help="tune one network for so many steps, and show it for all"
    )
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="of both")
    parser.add_argument("--filters", type=int, nargs=3, default=(24, 64, 128))
    parser.add_argument("--bits", type=int, default=8, help="of a weight")
    parser.add_argument("--penalty", type=float, default=0.0, help="loss for 100,000 synaptic events")
    parser.add_argument("--steps", type=int, nargs="+", default=(100, 50, 32, 20, 10))
    parser.add_argument("--limit", type=int, help="use only so many test images")
    parser.add_argument("--keep", type=Path, help="folder of checkpoints")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data) if args.data else ld.data.fashion_mnist()
    x, y = data.x_test[: args.limit], data.y_test[: args.limit]
    n_held = len(data.x_train) // 12
    held = data.x_train[-n_held:], data.y_train[-n_held:]
    chosen = held[0][:500], held[1][:500]
    x_train, y_train = data.x_train[:-n_held], data.y_train[:-n_held]

    rates, found = [], defaultdict(list)
    for seed in range(args.seed, args.seed + args.seeds):
        folder = args.keep / f"{seed}" if args.keep else None
        how = {"validation": held, "seed": seed, "augment": moved_images(mirrored=not args.digits)}
        model = few_steps_convnet(x.shape[1:], len(data.class_names), tuple(args.filters), seed)
        kept = folder / "rate.npz" if folder else None
        first = {"epochs": args.epochs, "learning_rate": 4e-3, "label_smoothing": 0.05, "checkpoint": kept}
        retrain(model, x_train, y_train, **first, **how)
        options = ld.DeployOptions(weight_bits=args.bits, encoder="first_layer")
        rate_network, tuned = folded(model), {}
        for steps in {args.tuned_for or steps for steps in args.steps} if args.tune else ():
            tuned[steps] = fine_tune(
                model,
                x_train,
                y_train,
                steps,
                epochs=args.tune,
                learning_rate=args.learning_rate,
                encoder="first_layer",
                weight_bits=args.bits,
                penalty_weight=args.penalty,
                checkpoint=folder,
                **how,
            )
            print(tuned[steps])
            rate_network = tuned[steps].plain
        rates.append((np.asarray(rate_network.predict(x, verbose=0)).argmax(axis=1) == y).mean())
        for steps in args.steps:
            networks = {"no training": (rate_network, options)}
            if args.tune:
                result = tuned[args.tuned_for or steps]
                alone = replace(options, bias_correction_steps=0)
                networks["tuned"] = result.tuned, result.options if args.penalty else alone
            for name, (network, set_to) in networks.items():
                for_time = replace(set_to, steps=steps)
                deployment = ld.deploy(network, calibration=chosen[0], labels=chosen[1], options=for_time)
                outcome = deployment.evaluate(x, y)
                costs = deployment.evaluate(x[:ENERGY], y[:ENERGY], energy=True)
                chip = [outcome.counters.populations[p.name] for p in deployment.program.populations]
                found[steps, name].append(
                    (
                        100 * (rates[-1] - outcome.accuracy),
                        sum(counts.spikes for counts in chip) / len(x),
                        sum(counts.synaptic_events for counts in chip) / len(x),
                        deployment.mapping.n_cores,
                        1e6 * costs.energy.total.value,
                        1e3 * costs.energy.seconds.value,
                    )
                )
            if args.tune:
                given_back = "tuned" if result.model is result.tuned else "no training"
                found[steps, "given back"].append(found[steps, given_back][-1])
    columns = ("steps", "network", "drop, points", "spikes", "events", "cores", "energy, µJ", "time, ms")
    title = f"{data.name}: rate network {100 * np.mean(rates):.2f} %, {args.seeds} seeds"
    table = Table(*columns, title=title)
    for (steps, name), rows in found.items():
        drop, spikes, events, cores, joules, ms = np.mean(rows, axis=0)
        costs = f"{spikes:,.0f}", f"{events:,.0f}", f"{cores:.0f}", f"{joules:.0f}", f"{ms:.2f}"
        table.add_row(str(steps), name, f"{drop:.2f}", *costs)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
