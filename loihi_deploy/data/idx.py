"""Read one file in the IDX format of the MNIST database (http://yann.lecun.com/exdb/mnist, "file formats").

A file is two zero bytes, a type code (8 for unsigned bytes), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the values, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import DataError, Problem

#: The file of each part of a set, and its number of dimensions. Some archives write ``.idx3-ubyte`` for
#: ``-idx3-ubyte``.
FILE_NAMES = {
    "train images": ("train-images-idx3-ubyte", 3),
    "train labels": ("train-labels-idx1-ubyte", 1),
    "test images": ("t10k-images-idx3-ubyte", 3),
    "test labels": ("t10k-labels-idx1-ubyte", 1),
}
IDX_MAGIC = b"\0\0\x08"
"""How an IDX file of unsigned bytes begins; its number of dimensions follows."""
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(folder: Path, part: str, problems: list[Problem]) -> NDArray[np.uint8] | None:
    """Read one part of a set; where that fails, add to `problems` and return None.

    Parameters
    ----------
    folder : Path
        Where the files are.
    part : str
        A key of `FILE_NAMES`.
    problems : list of Problem
        Grows by what is wrong with the file.
    """
    name, n_dimensions = FILE_NAMES[part]
    spellings = [stem + end for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    path = next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)
    if path is None:
        problems.append(
            Problem("file is missing", str(folder / name), remedy=f"Put {name} or {name}.gz there")
        )
        return None
    try:
        return read_idx_file(path, n_dimensions)
    except DataError as error:
        problems.extend(error.problems)
        return None


def read_idx_file(path: Path, n_dimensions: int | None = None) -> NDArray[np.uint8]:
    """Read one IDX file, gzipped or not, of `n_dimensions` or as many as it says.

    Raises
    ------
    DataError
        If it cannot be read, is damaged or empty, or has other dimensions.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError.single(
            f"cannot be read: {error}", str(path), remedy="Fetch the file again"
        ) from error
    if n_dimensions is None:
        n_dimensions = content[3] if content[:3] == IDX_MAGIC and len(content) > 3 else 1
    problem = _check(content, n_dimensions, str(path))
    if problem:
        raise DataError("", problem)
    shape = struct.unpack_from(f">{n_dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def _check(content: bytes, n_dimensions: int, where: str) -> Problem | None:
    """Find what is wrong with the bytes of an IDX file."""
    remedy = "Fetch the file again"
    magic = IDX_MAGIC + bytes([n_dimensions])
    if content[:4] != magic:
        return Problem(
            "wrong magic number, not such an IDX file", where, content[:4].hex(" "), magic.hex(" "), remedy
        )
    n_header = 4 + 4 * n_dimensions
    if len(content) < n_header:
        return Problem("truncated in its header", where, f"{len(content)} bytes", f"{n_header} bytes", remedy)
    shape = struct.unpack_from(f">{n_dimensions}I", content, 4)
    n_expected = n_header + math.prod(shape)
    if len(content) != n_expected:
        what = "truncated" if len(content) < n_expected else "bytes after its end"
        return Problem(
            what, where, f"{len(content):,} bytes", f"{n_expected:,} bytes for shape {shape}", remedy
        )
    if math.prod(shape) == 0:
        return Problem("holds no data", where, f"shape {shape}", remedy=remedy)
    return None
