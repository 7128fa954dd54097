"""Digests of tensors, with dtype and shape bound in."""

from __future__ import annotations

import hashlib

import torch

from ..digest import Digest


def digest_tensor(tensor: torch.Tensor) -> Digest:
    """Digest a tensor's values as float32, whatever device and layout it has.

    Args:
        tensor: Any shape, any real dtype. Wider types are rounded to float32.

    Returns:
        A digest of algorithm `sha256-f32`: SHA-256 of `f32 AxBxC` and a newline in
        ASCII, then the values as little-endian float32 in row-major order.
    """
    values = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()
    shape = "x".join(str(size) for size in values.shape)
    state = hashlib.sha256(f"f32 {shape}\n".encode("ascii"))
    state.update(values.numpy().astype("<f4", copy=False).tobytes())
    return Digest("sha256-f32", state.hexdigest())
