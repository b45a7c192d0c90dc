"""What the host computes of a sample, or of its frames, before the network sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class FrameMemory(Content):
    """A memory of frames: ``m[t] = max(low, state @ m[t - 1] + given @ x[t])``, from 0 at the first frame of a sample.

    Delay lines are such memories, the linear part of a Legendre memory unit is one, and with a bound of 0 so is a
    recurrent layer of rectified linear units.

    Parameters
    ----------
    state : Dense, Conv2D or Sparse
        (size, size).
    given : Dense, Conv2D or Sparse
        (size, in_size).
    low : (size,) float array, optional
        Lower bounds, -inf for none; None for none at all.
    """

    state: Transform
    given: Transform
    low: NDArray[np.float64] | None = field(default=None, metadata={"since": 2})

    def __post_init__(self) -> None:
        if self.low is not None:
            object.__setattr__(self, "low", frozen_array(self.low, np.float64))
        check_fields(self)
        sizes = {self.state.in_size, self.state.out_size, self.given.out_size}
        finite = all(np.isfinite(transform.values).all() for transform in (self.state, self.given))
        if self.low is not None:
            finite = finite and self.low.shape == (self.given.out_size,) and bool((self.low < np.inf).all())
        if len(sizes) > 1 or not finite:
            raise InputError.single("not a memory of frames", "FrameMemory", repr(self))

    @property
    def in_size(self) -> int:
        """Number of values of a frame."""
        return self.given.in_size

    @property
    def out_size(self) -> int:
        """Number of values that are kept, and given."""
        return self.given.out_size

    def over(
        self, frames: NDArray[Any], start: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What is in memory at each frame.

        Parameters
        ----------
        frames : (n, n_frames, in_size) array
        start : (n, out_size) array, optional
            What was in memory before; 0 if not given.

        Returns
        -------
        (n, n_frames, out_size) array
            In the dtype of the frames.
        (n, out_size) array
            What is in memory at the end.
        """
        n, n_frames, size = frames.shape
        given = self.given.apply(frames.reshape(-1, size)).reshape(n, n_frames, -1)
        found = np.zeros((n, n_frames, self.out_size), frames.dtype)
        memory = np.zeros((n, self.out_size), frames.dtype) if start is None else start
        for t in range(n_frames):
            memory = self.state.apply(memory) + given[:, t]
            if self.low is not None:
                memory = np.maximum(memory, self.low.astype(memory.dtype))
            found[:, t] = memory
        return found, memory


Prelude = HostMap | FrameMemory
