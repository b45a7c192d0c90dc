"""How the flat vectors of a Nengo network hold images."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Shape, linear

if TYPE_CHECKING:
    import nengo


@dataclass(frozen=True)
class Layout:
    """Shape of a stored vector, and where the framework's elements stand in it (None: in their own order)."""

    shape: Shape
    order: NDArray[np.intp] | None = None


def image_layout(shape: Shape, channels_last: bool) -> Layout:
    """Images are stored as (height, width, channels); signals of one dimension have height 1."""
    shape = tuple(int(n) for n in shape)
    if len(shape) < 2 or (len(shape) > 3 and not channels_last):
        return Layout((prod(shape),))
    if len(shape) > 3:
        return Layout(linear.image_shape(shape))
    spatial, channels = (shape[:-1], shape[-1]) if channels_last else (shape[1:], shape[0])
    stored = ((1,) if len(spatial) == 1 else ()) + (*spatial, channels)
    if channels_last or channels == 1:
        return Layout(stored)
    positions = np.arange(prod(shape)).reshape(*spatial, channels)
    return Layout(stored, np.moveaxis(positions, -1, 0).ravel())


def convolution_layouts(network: nengo.Network, known: dict[Any, Layout] | None = None) -> dict[Any, Layout]:
    """Layouts of the objects at both ends of convolutions, and of those connected to them one to one."""
    layouts = dict(known or {})
    whole = [
        connection
        for connection in network.all_connections
        if is_whole(connection.pre_slice) and is_whole(connection.post_slice)
    ]
    for end in ("output_shape", "input_shape"):
        for connection in whole:
            if type(connection.transform).__name__ == "Convolution":
                shape = getattr(connection.transform, end)
                obj = connection.post_obj if end == "output_shape" else connection.pre_obj
                layouts.setdefault(obj, image_layout(shape.shape, shape.channels_last))
    pending = [connection for connection in whole if _is_one_to_one(connection)]
    while True:
        for connection in pending:
            ends = connection.pre_obj, connection.post_obj
            if (ends[0] in layouts) != (ends[1] in layouts):
                layout = layouts.get(ends[0]) or layouts[ends[1]]
                layouts.update(dict.fromkeys(ends, layout))
                break
        else:
            return layouts


def is_whole(which: Any) -> bool:
    """Whether a slice of a Nengo object is all of it."""
    return isinstance(which, slice) and which == slice(None)


def _is_one_to_one(connection: Any) -> bool:
    transform = connection.transform
    kind = type(transform).__name__
    return connection.pre_obj.size_out == connection.post_obj.size_in and (
        kind == "NoTransform" or (kind == "Dense" and np.ndim(transform.init) < 2)
    )
