"""The head of a file tells its size, and any other bytes are an error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comfyui_provenance.containers.heads import Head, read_head
from comfyui_provenance.errors import ContainerError


def test_a_picture_has_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (3, 2)).save(path)

    assert read_head(path) == Head(3, 2, 1)


def test_the_frames_of_an_animation_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])

    assert read_head(path) == Head(4, 4, 3)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a\x01", b"x" * 100])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)

    with pytest.raises(ContainerError, match="cannot be read"):
        read_head(path)
