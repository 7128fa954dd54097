"""The sizes, counts and depths that we agree to read.

An image is a stranger's program: every reader stops at one of these instead of
at the end of the machine's memory. Each number states what it was taken from.
"""

from __future__ import annotations

from typing import Final

IMAGE_FILE_BYTES: Final = 512 * 1024**2
"""One image file. ComfyUI itself accepts uploads of 100 MB."""

IMAGE_PIXELS: Final = 16384 * 16384
"""One decoded image. 16384 is ComfyUI's own largest width and height."""

TEXT_BYTES: Final = 32 * 1024**2
"""One text chunk, after decompression. Large workflows measure about 2 MB."""

TEXT_TOTAL_BYTES: Final = 64 * 1024**2
"""All text chunks of one image: the bound that Pillow has, too."""

CHUNK_COUNT: Final = 65536
"""Chunks of one PNG. A 16384 x 16384 image in 64 KB chunks has about 12 000."""

JSON_DEPTH: Final = 64
"""Nesting of JSON. Prompts and records measure under 10."""

INTEGER_DIGITS: Final = 640
"""One integer literal. Python converts this many in any setting of `sys.set_int_max_str_digits`."""

NODE_COUNT: Final = 10_000
"""Nodes of one prompt. The largest published workflows have about 1 000."""

OUTPUT_COUNT: Final = 1_000_000
"""Outputs of one node, and so the end of slots. Nodes measure under 20."""

NODE_ID_CHARS: Final = 256
"""A node id; subgraphs join theirs with colons."""

NAME_CHARS: Final = 4096
"""A class type, an input's name or a file's name."""

EXIF_ENTRY_COUNT: Final = 1024
"""Entries of one EXIF directory. Cameras write under 100."""

EXIF_NUMBERS_BYTES: Final = 64 * 1024
"""One list of numbers of foreign EXIF that an edit carries over: more than a whole JPEG's EXIF."""
