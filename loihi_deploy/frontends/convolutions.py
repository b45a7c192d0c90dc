"""Output size and padding of convolutions and pooling, as TensorFlow and Nengo define them."""

from __future__ import annotations


def window_geometry(size: int, taps: int, stride: int, padding: str) -> tuple[int, int]:
    """Output size and zeros before the first input along one axis.

    Parameters
    ----------
    size : int
        Input size.
    taps : int
        Extent of the kernel, dilation included.
    stride : int
    padding : {'valid', 'same', 'causal'}
        'same' puts the odd zero behind; 'causal' puts all of them before.
    """
    if padding == "same":
        out = -(-size // stride)
        return out, max((out - 1) * stride + taps - size, 0) // 2
    if padding == "causal":
        return (size - 1) // stride + 1, taps - 1
    return (size - taps) // stride + 1, 0
