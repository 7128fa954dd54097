"""Digests of tensors, with dtype and shape bound in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from ..digest import Digest


class TensorDigest:
    """Digests a tensor that arrives in pieces, as `digest_tensor` does one that is whole.

    It keeps no values. That the pieces make up the shape is for the caller to see to.

    Args:
        shape: Of the whole tensor.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        sizes = "x".join(str(size) for size in shape)
        self._state = hashlib.sha256(f"f32 {sizes}\n".encode("ascii"))

    def update(self, piece: torch.Tensor) -> None:
        """Take the next values, in row-major order of the whole."""
        values = piece.detach().to(device="cpu", dtype=torch.float32).contiguous()
        self._state.update(values.numpy().astype("<f4", copy=False).tobytes())

    def digest(self) -> Digest:
        """Give the digest of what has arrived, of algorithm `sha256-f32`."""
        return Digest("sha256-f32", self._state.hexdigest())


def digest_tensor(tensor: torch.Tensor) -> Digest:
    """Digest a tensor's values as float32, whatever device and layout it has.

    Args:
        tensor: Any shape, any real dtype. Wider types are rounded to float32.

    Returns:
        A digest of algorithm `sha256-f32`: SHA-256 of `f32 AxBxC` and a newline in
        ASCII, then the values as little-endian float32 in row-major order.
    """
    whole = TensorDigest(tensor.shape)
    whole.update(tensor)
    return whole.digest()
