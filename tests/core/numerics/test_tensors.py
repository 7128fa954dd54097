"""A tensor's digest is of its values as float32 with its shape, wherever and however it lies."""

from __future__ import annotations

import hashlib
import struct

import pytest
import torch
from blake3 import blake3

from comfyui_provenance.numerics.tensors import digest_images, digest_tensor


def test_the_preimage_is_shape_and_little_endian_values() -> None:
    preimage = b"f32 1x3\n" + struct.pack("<3f", 1.5, -2.0, 0.0)

    digest = digest_tensor(torch.tensor([[1.5, -2.0, 0.0]]))

    assert str(digest) == f"sha256-f32:{hashlib.sha256(preimage).hexdigest()}"


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8]
)
def test_equal_values_of_another_type_have_one_digest(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1], [2, 255]])

    assert digest_tensor(values.to(dtype)) == digest_tensor(values.float())


def test_the_layout_in_memory_does_not_count() -> None:
    values = torch.arange(24.0).reshape(2, 3, 4)
    strided = values.transpose(0, 2).contiguous().transpose(0, 2)

    assert not strided.is_contiguous()
    assert digest_tensor(strided) == digest_tensor(values)


def test_the_shape_counts() -> None:
    shapes = [(2, 3), (3, 2), (6,), (1, 6)]

    assert len({digest_tensor(torch.zeros(shape)) for shape in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(1.0, 1.0 + 2**-23, id="one unit in the last place"),
        pytest.param(0.0, -0.0, id="the sign of zero"),
        pytest.param(0.0, 1e-45, id="the smallest subnormal"),
    ],
)
def test_one_bit_counts(first: float, second: float) -> None:
    assert digest_tensor(torch.tensor(first)) != digest_tensor(torch.tensor(second))


def test_a_tensor_with_a_gradient_is_digested_and_left_alone() -> None:
    values = torch.ones(3, requires_grad=True)

    digest = digest_tensor(values)

    assert digest == digest_tensor(torch.ones(3))
    assert values.requires_grad


def test_each_image_of_a_batch_is_digested_as_if_it_were_alone() -> None:
    images = torch.arange(24.0).reshape(2, 3, 4)

    digests = digest_images(images)

    preimage = b"f32 3x4\n" + struct.pack("<12f", *range(12, 24))
    assert str(digests[1]) == f"blake3-f32:{blake3(preimage).hexdigest()}"
    assert digests == [digest_images(images[at : at + 1])[0] for at in range(2)]
    assert digest_images(images.transpose(1, 2))[0] != digests[0]
    assert digest_images(images.double()) == digests
