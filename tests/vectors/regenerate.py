"""Remakes the vectors bit for bit, without the code under test."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

FOLDER = Path(__file__).parent
SIGNATURE = b"\x89PNG\r\n\x1a\n"

RFC8785_VALUE = rb"""{
  "numbers": [333333333.33333329, 1E30, 4.50,
              2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}
"""
RFC8785_VALUE_FORM = (
    rb'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    b'"string":"\xe2\x82\xac$' + rb"\u000f\nA'B\"\\\\\"/" + b'"}'
)
RFC8785_KEYS = rb"""{
  "\u20ac": "Euro Sign",
  "\r": "Carriage Return",
  "\ufb33": "Hebrew Letter Dalet With Dagesh",
  "1": "One",
  "\ud83d\ude00": "Emoji: Grinning Face",
  "\u0080": "Control",
  "\u00f6": "Latin Small Letter O With Diaeresis"
}
"""
RFC8785_KEYS_FORM = (
    '{"\\r":"Carriage Return","1":"One","\x80":"Control",'
    '"\xf6":"Latin Small Letter O With Diaeresis","\u20ac":"Euro Sign",'
    '"\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
).encode()
RFC8785_NUMBERS = b"""\
0000000000000000 0
8000000000000000 0
0000000000000001 5e-324
8000000000000001 -5e-324
7fefffffffffffff 1.7976931348623157e+308
ffefffffffffffff -1.7976931348623157e+308
4340000000000000 9007199254740992
c340000000000000 -9007199254740992
4430000000000000 295147905179352830000
44b52d02c7e14af5 9.999999999999997e+22
44b52d02c7e14af6 1e+23
44b52d02c7e14af7 1.0000000000000001e+23
444b1ae4d6e2ef4e 999999999999999700000
444b1ae4d6e2ef4f 999999999999999900000
444b1ae4d6e2ef50 1e+21
3eb0c6f7a0b5ed8c 9.999999999999997e-7
3eb0c6f7a0b5ed8d 0.000001
41b3de4355555553 333333333.3333332
41b3de4355555554 333333333.33333325
41b3de4355555555 333333333.3333333
41b3de4355555556 333333333.3333334
41b3de4355555557 333333333.33333343
becbf647612f3696 -0.0000033333333333333333
43143ff3c1cb0959 1424953923781206.2
"""

LAYOUTS = [("gray8", 1, 0), ("graya8", 2, 4), ("rgb8", 3, 2), ("rgba8", 4, 6)]
"""Name, channels and PNG colour type of each layout."""

XMP = b"XML:com.adobe.xmp"
PROVENANCE = '{"caf\\u00e9":1}'
PROMPT = '{"1":{"class_type":"A","inputs":{}}}'


def make() -> dict[str, bytes]:
    """Make every vector, by its path under this folder."""
    return {
        "canonical/rfc8785_value.json": RFC8785_VALUE,
        "canonical/rfc8785_value.form.json": RFC8785_VALUE_FORM,
        "canonical/rfc8785_keys.json": RFC8785_KEYS,
        "canonical/rfc8785_keys.form.json": RFC8785_KEYS_FORM,
        "canonical/rfc8785_numbers.txt": RFC8785_NUMBERS,
        **make_pixels(),
        **make_png(),
        **make_prompt(),
    }


def make_pixels() -> dict[str, bytes]:
    """Make an image of two rows and three columns in each layout, and their digests."""
    files: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for layout, channels, colour in LAYOUTS:
        samples = bytes(at * 11 for at in range(6 * channels))
        half = 3 * channels
        rows = b"\0" + samples[:half] + b"\0" + samples[half:]
        files[f"pixels/{layout}.png"] = png(3, 2, colour, rows)
        preimage = layout.encode() + b" 2x3\n" + samples
        digests[layout] = f"sha256-{layout}:{hashlib.sha256(preimage).hexdigest()}"
    files["pixels/digests.json"] = json.dumps(digests, indent=2).encode() + b"\n"
    return files


def make_png() -> dict[str, bytes]:
    """Make a file with the text of other tools, and what editing it gives."""
    software = chunk(b"tEXt", b"Software\0caf\xe9")
    private = chunk(b"prVt", b"\0\1\2")
    xmp = chunk(b"iTXt", XMP + b"\0\1\0\0\0" + stored(b"<x/>"))
    replaced = (
        chunk(b"tEXt", b"prompt\0old"),
        chunk(b"zTXt", b"prompt\0\0" + stored(b"older")),
        chunk(b"iTXt", b"provenance\0\0\0en\0p\0\xc3\xa9"),
    )
    written = (
        chunk(b"tEXt", b"provenance\0" + PROVENANCE.encode()),
        chunk(b"tEXt", b"prompt\0" + PROMPT.encode()),
    )
    texts = {"Software": "café", "prompt": "older", "provenance": "é", XMP.decode(): "<x/>"}
    return {
        "png/plain.png": png(1, 1, 0, b"\0\0"),
        "png/foreign.png": png(1, 1, 0, b"\0\0", (software, private, xmp), replaced) + b"tail",
        "png/foreign.json": json.dumps(texts, indent=2).encode() + b"\n",
        "png/embedded.png": png(1, 1, 0, b"\0\0", (*written, software, private, xmp)) + b"tail",
        "png/removed.png": png(1, 1, 0, b"\0\0", (software, private)) + b"tail",
    }


def make_prompt() -> dict[str, bytes]:
    """Make a prompt as ComfyUI holds it, as a record keeps it, and its digest."""
    page = (
        '{"3": {"inputs": {"seed": 18446744073709551615, "cfg": 7.0, "model": ["4", 0],'
        ' "points": {"__value__": ["4", 0]}}, "class_type": "KSampler",'
        ' "_meta": {"title": "KSampler"}},\n'
        ' "4": {"inputs": {"name": "caf\u00e9.safetensors"}, "class_type": "Loader",'
        ' "is_changed": [NaN]}}\n'
    )
    dumped = (
        '{"3":{"class_type":"KSampler","inputs":{"seed":18446744073709551615,"cfg":7.0,'
        '"model":["4",0],"points":{"__value__":["4",0]}}},'
        '"4":{"class_type":"Loader","inputs":{"name":"caf\\u00e9.safetensors"}}}'
    )
    loader = digest(
        r'{"class_type":"Loader","inputs":{"name":{"literal":"\"caf\\u00e9.safetensors\""}}}'
    )
    sampler = digest(
        r'{"class_type":"KSampler","inputs":{"cfg":{"literal":"7.0"},'
        rf'"model":{{"node":"{loader}","slot":"0"}},"points":{{"literal":"[\"4\",0]"}},'
        r'"seed":{"literal":"18446744073709551615"}}}'
    )
    graph = digest(f'{{"node":"{sampler}","slot":"0"}}')
    return {
        "prompt/page.json": page.encode(),
        "prompt/dumped.json": dumped.encode(),
        "prompt/digest.txt": graph.encode() + b"\n",
    }


def digest(form: str) -> str:
    """Digest a canonical form that is written out."""
    return f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"


def png(
    width: int,
    height: int,
    colour: int,
    rows: bytes,
    before: tuple[bytes, ...] = (),
    after: tuple[bytes, ...] = (),
) -> bytes:
    """Make a PNG of 8-bit samples with these chunks before and after IDAT."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    image = chunk(b"IDAT", stored(rows))
    return b"".join([SIGNATURE, header, *before, image, *after, chunk(b"IEND", b"")])


def chunk(kind: bytes, body: bytes) -> bytes:
    """Make a chunk with its length and checksum."""
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def stored(plain: bytes) -> bytes:
    """Make a zlib stream of one stored block: the same bytes with any zlib."""
    sizes = struct.pack("<HH", len(plain), len(plain) ^ 0xFFFF)
    return b"\x78\x01\x01" + sizes + plain + struct.pack(">I", zlib.adler32(plain))


def main() -> None:
    """Write every vector."""
    for name, content in make().items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
