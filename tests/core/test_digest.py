"""A digest's name fixes what it is of, and its text is exact."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from comfyui_provenance.digest import (
    Digest,
    digest_bytes,
    digest_file,
    digest_text,
    digest_value,
    parse_digest,
)
from comfyui_provenance.errors import RecordError

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_text_of_a_digest_is_algorithm_and_hex() -> None:
    assert str(digest_bytes(b"")) == f"sha256:{EMPTY}"


def test_a_longer_name_of_the_family_is_kept() -> None:
    assert digest_bytes(b"", "sha256-rgb8") == Digest("sha256-rgb8", EMPTY)


def test_text_is_digested_as_its_exact_utf_8() -> None:
    assert digest_text("é \n").hex == hashlib.sha256(b"\xc3\xa9 \n").hexdigest()


def test_a_file_is_digested_as_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)

    assert digest_file(path) == digest_bytes(content)


def test_a_value_is_digested_in_canonical_form() -> None:
    assert digest_value({"b": 1.0, "a": "é"}) == digest_bytes('{"a":"é","b":1}'.encode())


@pytest.mark.parametrize("algorithm", ["sha256", "sha256-rgb8", "blake3", "autov3"])
def test_a_digest_is_parsed_from_its_text(algorithm: str) -> None:
    assert parse_digest(f"{algorithm}:{EMPTY}") == Digest(algorithm, EMPTY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(EMPTY, "algorithm:hex", id="no algorithm"),
        pytest.param(f"md5:{EMPTY[:32]}", "blake3 or autov3, got 'md5'", id="unknown algorithm"),
        pytest.param(f"SHA256:{EMPTY}", "got 'SHA256'", id="upper-case algorithm"),
        pytest.param(f"sha256-:{EMPTY}", "got 'sha256-'", id="empty part of a name"),
        pytest.param(f"sha256\n:{EMPTY}", "sha256 or blake3", id="line end in the name"),
        pytest.param(f"sha256:{EMPTY[1:]}", "64 hex characters, got 63", id="too short"),
        pytest.param(f"sha256:{EMPTY}\n", "64 hex characters, got 65", id="line end after"),
        pytest.param(f"sha256:{EMPTY.upper()}", "lower-case hex", id="upper-case hex"),
        pytest.param(f"sha256:{'٣' * 64}", "lower-case hex", id="digits of another script"),
    ],
)
def test_what_is_not_a_digest_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_digest(text)


def test_an_algorithm_that_is_not_computed_here_is_refused() -> None:
    with pytest.raises(ValueError, match="expected sha256, got 'blake3'"):
        digest_bytes(b"", "blake3")
