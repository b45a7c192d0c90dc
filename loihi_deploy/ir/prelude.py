"""What the host computes of a sample before the network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError
from loihi_deploy.ir.checks import check_fields
from loihi_deploy.ir.content import Content, frozen_array
from loihi_deploy.ir.transforms import Transform


@dataclass(frozen=True, eq=False)
class HostMap(Content):
    """The largest of each window of ``transform @ x + offset``, held between two bounds.

    Max pooling and rectifiers that saturate are such functions: no synapse computes them, and where nothing but the
    input stands before them they need none.

    Parameters
    ----------
    transform : Dense, Conv2D, Sparse or None
        None is the identity.
    offset : (size,) float array
    windows : (out_size, n) int array or None
        For each output the elements that it is the largest of, -1 for none; None keeps every element.
    low, high : float
    """

    transform: Transform | None
    offset: NDArray[np.float64]
    windows: NDArray[np.int64] | None = None
    low: float = -np.inf
    high: float = np.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", frozen_array(self.offset, np.float64))
        if self.windows is not None:
            object.__setattr__(self, "windows", frozen_array(self.windows, np.int64))
        check_fields(self)
        windows = self.windows
        fits = self.offset.ndim == 1 and self.offset.size > 0
        fits = fits and (self.transform is None or self.transform.out_size == len(self.offset))
        if windows is not None:
            fits = fits and windows.ndim == 2 and bool((windows >= 0).any(axis=1).all())
            fits = fits and bool(((windows >= -1) & (windows < len(self.offset))).all())
        if not (fits and self.low <= self.high and np.isfinite(self.offset).all()):
            raise InputError.single("not a function of samples", "HostMap", repr(self))

    @property
    def in_size(self) -> int:
        """Number of values that it takes."""
        return len(self.offset) if self.transform is None else self.transform.in_size

    @property
    def out_size(self) -> int:
        """Number of values that it gives."""
        return len(self.offset) if self.windows is None else len(self.windows)

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """The function of (n, in_size) values, in their dtype."""
        values = x if self.transform is None else self.transform.apply(x)
        values = values + self.offset.astype(x.dtype)
        if self.windows is not None:
            largest = np.full((len(x), self.out_size), -np.inf, x.dtype)
            for elements in self.windows.T:
                found = np.where(elements >= 0, values[:, elements], -np.inf)
                np.maximum(largest, found, out=largest)
            values = largest
        return np.asarray(np.clip(values, self.low, self.high), x.dtype)
