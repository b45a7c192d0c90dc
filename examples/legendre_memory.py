"""A Legendre memory on the chip: a recurrent population that remembers a window of its input, without any training.

    python examples/legendre_memory.py [--order 4] [--neurons 320] [--frames 10] [--steps 20] [--board nahuku32]

The first layer of a Keras network keeps such a memory on the host, exactly and of any order (`keras_lmu.LMU`); on the
chip it is as good as its neurons are many and its order is small.
"""

import argparse

import numpy as np

import loihi_deploy as ld


def main() -> None:
    """Deploy the memory, say how far its state is off, and show what it holds of a wave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--neurons", type=int, default=320)
    parser.add_argument("--frames", type=int, default=10, help="that are remembered")
    parser.add_argument("--steps", type=int, default=20, help="of a frame")
    parser.add_argument("--board", default="nahuku32")
    args = parser.parse_args()

    memory = ld.chip_memory(args.order, args.frames, args.steps, args.neurons, args.board)
    print(memory)
    wave = 0.8 * np.sin(np.arange(3 * args.frames) * 2 * np.pi / args.frames)
    held = memory.deployment.run(wave[None, :, None]).by_frame["state"][0]
    at_once = np.polynomial.legendre.legval(np.array([-1.0, 0.0, 1.0]), held.T)
    for frame in range(2 * args.frames, 3 * args.frames):
        now, half, whole = at_once[frame]
        print(
            f"frame {frame}: now {now:5.2f}, half a window ago {half:5.2f}, a whole window ago {whole:5.2f}"
        )


if __name__ == "__main__":
    main()
