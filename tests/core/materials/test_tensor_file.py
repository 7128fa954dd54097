"""Tensors are found in what the safetensors library writes, and in nothing that is cut or torn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from comfyui_provenance import limits
from comfyui_provenance.materials.tensor_file import find_tensors

WEIGHT = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def with_header(header: object, payload: bytes = b"abcd", text: bytes | None = None) -> bytes:
    encoded = json.dumps(header).encode() if text is None else text
    return len(encoded).to_bytes(8, "little") + encoded + payload


def found_in(content: bytes, folder: Path) -> int | None:
    path = folder / "no suffix, as the target of a link"
    path.write_bytes(content)
    with path.open("rb") as file:
        return find_tensors(file, len(content))


@pytest.mark.parametrize("metadata", [None, {"sshs_model_hash": "0" * 64}])
def test_tensors_are_found_where_the_library_put_them(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    first, second = np.arange(6, dtype=np.float32), np.arange(3, dtype=np.uint8)
    content = save({"first": first, "second": second}, metadata)

    offset = found_in(content, tmp_path)

    assert content[offset:] == first.tobytes() + second.tobytes()


def test_a_file_without_tensors_ends_where_they_would_begin(tmp_path: Path) -> None:
    content = save({})

    assert found_in(content, tmp_path) == len(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="an empty file"),
        pytest.param(b"PK\x03\x04" + b"\0" * 100, id="a zip file"),
        pytest.param(with_header({"weight": WEIGHT})[:-1], id="cut off at the end"),
        pytest.param(with_header({"weight": WEIGHT})[:20], id="cut off in the header"),
        pytest.param(with_header({"weight": WEIGHT}, b"abcde"), id="bytes after the last tensor"),
        pytest.param(with_header({}), id="bytes of no tensor"),
        pytest.param(with_header([WEIGHT]), id="a list for a header"),
        pytest.param(with_header({}, b"", b""), id="no header"),
        pytest.param(with_header({}, b"", b"{"), id="no JSON"),
        pytest.param(with_header({}, b"", b"[" * 10_000), id="deep JSON"),
        pytest.param(with_header({}, b"", b'{"\xff": 1}'), id="no UTF-8"),
        pytest.param(with_header({"weight": 4}), id="a tensor that is no object"),
        pytest.param(with_header({"weight": {}}), id="a tensor without a place"),
        pytest.param(with_header({"weight": {"data_offsets": [4]}}), id="a place without an end"),
        pytest.param(
            with_header({"weight": {"data_offsets": [0, 4.0]}}), id="a fraction for an end"
        ),
        pytest.param(
            with_header({"weight": {"data_offsets": [0, True]}}, b"a"), id="a truth for an end"
        ),
        pytest.param(
            with_header({"weight": {"data_offsets": [0, 10**400]}}), id="an end past any file"
        ),
        pytest.param((2**64 - 1).to_bytes(8, "little") + b"{}", id="a header longer than any file"),
    ],
)
def test_what_is_no_whole_safetensors_file_has_no_tensors(content: bytes, tmp_path: Path) -> None:
    assert found_in(content, tmp_path) is None


def test_a_header_larger_than_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = with_header({"weight": WEIGHT})
    header_bytes = len(content) - 8 - 4

    monkeypatch.setattr(limits, "TEXT_BYTES", header_bytes)
    assert found_in(content, tmp_path) == 8 + header_bytes
    monkeypatch.setattr(limits, "TEXT_BYTES", header_bytes - 1)
    assert found_in(content, tmp_path) is None
