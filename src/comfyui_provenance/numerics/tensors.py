"""Digests of tensors, with dtype and shape bound in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from blake3 import blake3

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


def digest_images(images: torch.Tensor) -> list[Digest]:
    """Digest each image, mask or latent of a batch.

    BLAKE3, since it is an order of magnitude faster than SHA-256 without instructions for it,
    and every image between two nodes is digested.

    Args:
        images: Shape (batch, ...), any real dtype and device. Wider types are rounded to
            float32.

    Returns:
        Digests of algorithm `blake3-f32`, in order: BLAKE3 of `f32 AxBxC`, the shape without
        the batch, and a newline in ASCII, then the values as little-endian float32 in
        row-major order.
    """
    values = images.detach().to(device="cpu", dtype=torch.float32).contiguous()
    header = f"f32 {'x'.join(str(size) for size in values.shape[1:])}\n".encode("ascii")
    digests: list[Digest] = []
    for image in values.reshape(len(values), -1).numpy():
        state = blake3(header, max_threads=blake3.AUTO)
        state.update(image.astype("<f4", copy=False).data.cast("B"))
        digests.append(Digest("blake3-f32", state.hexdigest()))
    return digests
