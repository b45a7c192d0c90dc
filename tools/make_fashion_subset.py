"""Write the bundled subset of Fashion-MNIST from the full set.

Usage: ``python tools/make_fashion_subset.py DIRECTORY``, where DIRECTORY holds the four IDX files (the Debian
package ``dataset-fashion-mnist`` puts them in ``/usr/share/datasets/fashion-mnist``). Keeps the first 1,000
training and the first 200 test images of each class, in their original order.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from loihi_deploy.data.idx import FILE_NAMES, read_idx
from loihi_deploy.errors import DataError, Problem

TARGET = Path(__file__).resolve().parents[1] / "loihi_deploy" / "data" / "fashion_mnist"
PER_CLASS = {"train": 1000, "test": 200}


def main(source: Path) -> None:
    """Read the full set from `source` and write the subset's four files."""
    problems: list[Problem] = []
    arrays = {part: read_idx(source, part, problems) for part in FILE_NAMES}
    if problems:
        raise DataError(f"Cannot read the data in {source}", problems)
    TARGET.mkdir(parents=True, exist_ok=True)
    for half, n_per_class in PER_CLASS.items():
        labels = arrays[f"{half} labels"]
        assert labels is not None
        first = [np.flatnonzero(labels == label)[:n_per_class] for label in np.unique(labels)]
        kept = np.sort(np.concatenate(first))
        for kind in ("images", "labels"):
            part = f"{half} {kind}"
            array = arrays[part]
            assert array is not None
            name, n_dimensions = FILE_NAMES[part]
            values = array[kept]
            header = bytes([0, 0, 8, n_dimensions]) + struct.pack(f">{n_dimensions}I", *values.shape)
            (TARGET / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes(), 9, mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
