"""From a record to its infotext, such that A1111 and Civitai both read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..canonical import JsonValue, dump_canonical
from ..record import UNRESOLVED, JsonObject
from ..seeds import MAX_SEED
from .names import COMFYUI, to_sampler_fields, to_schedule_type

_FEWEST_FIELDS: Final = 3
"""A1111 takes a last line with fewer for words."""

_EXACT_INTEGER: Final = 2**53

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SEED: Final = re.compile(r"[0-9]{1,20}")


def autov2(sha256: str) -> str:
    """Give the AutoV2 that A1111 and Civitai know a file by: the first 10 digits.

    Args:
        sha256: 64 hexadecimal digits, lower case.

    Raises:
        ValueError: It is not a whole SHA-256.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"expected 64 lower-case hex digits, got {sha256[:80]!r}")
    return sha256[:10]


def dump_infotext(document: Mapping[str, JsonValue]) -> str | None:
    """Dump the infotext of a record's last sampling.

    What the record leaves unresolved is left out; so are the words of a conditioning of
    which another node computed a part, and the VAE where there are several.

    Args:
        document: The record's: its `tuple`, `samplings`, `materials` and `subject` are read.

    Returns:
        The text, or `None` without a sampling, or with so few fields that every reader
        would take them for words.
    """
    samplings = _objects(document.get("samplings"))
    if not samplings:
        return None
    parameters = _object(document.get("tuple"))
    files = [_to_file(entry) for entry in _objects(document.get("materials"))]
    used = _to_used(parameters, files)
    fields = {
        **_setting_fields(parameters, _object(document.get("subject"))),
        **_file_fields(used),
        "Version": COMFYUI,
    }
    details = [
        f"{key}: {_quote(value)}" for key, value in fields.items() if value and _is_carried(value)
    ]
    if len(details) < _FEWEST_FIELDS:
        return None
    hashes = _to_hashes(used)
    if hashes:
        # Last: A1111 reads what follows the first comma in it as fields of their own.
        details.append(f"Hashes: {json.dumps(hashes, separators=(',', ':'))}")
    positive, negative = (_to_words(samplings[-1], name) for name in ("positive", "negative"))
    lines = [positive, f"Negative prompt: {negative}" if negative else "", ", ".join(details)]
    return "\n".join(line for line in lines if line)


@dataclass(frozen=True, slots=True)
class _File:
    """A material, as far as it is well-formed; a digest is `None` where it is not known."""

    kind: str
    name: str
    sha256: str | None
    autov3: str | None

    @property
    def base(self) -> str:
        """The name without folders; the graph names them as the system that it ran on does."""
        return re.split(r"[/\\]", self.name)[-1]

    @property
    def stem(self) -> str:
        """The name without folders and extension."""
        return self.base.rpartition(".")[0] or self.base


@dataclass(frozen=True, slots=True)
class _Used:
    """The files that an infotext names."""

    model: _File | None
    vae: _File | None
    loras: list[_File]
    embeddings: list[_File]


def _to_file(entry: JsonObject) -> _File:
    kind, name = entry.get("kind"), entry.get("name")
    return _File(
        kind if isinstance(kind, str) else "",
        name if isinstance(name, str) else "",
        _to_sha256(entry.get("sha256")),
        _to_sha256(entry.get("autov3")),
    )


def _to_used(parameters: JsonObject, files: list[_File]) -> _Used:
    version = _to_sha256(parameters.get("model_version"))
    # By digest: the graph may load other weights, for another sampling or for their VAE alone.
    weights = [file for file in files if file.sha256 and file.sha256 == version]
    vaes = {(file.base, file.sha256): file for file in files if file.kind == "vae"}
    autov3 = {file.sha256: file.autov3 for file in files if file.sha256 and file.autov3}
    adapters = [_to_file(entry) for entry in _objects(parameters.get("adapters"))]
    return _Used(
        model=weights[0] if weights else None,
        vae=next(iter(vaes.values())) if len(vaes) == 1 else None,
        loras=[
            _File("loras", adapter.name, adapter.sha256, autov3.get(adapter.sha256 or ""))
            for adapter in adapters
        ],
        embeddings=[file for file in files if file.kind == "embeddings"],
    )


def _setting_fields(parameters: JsonObject, subject: JsonObject) -> dict[str, str | None]:
    sampler, scheduler = _to_name(parameters.get("sampler")), _to_name(parameters.get("scheduler"))
    width, height = _dump_number(subject.get("width")), _dump_number(subject.get("height"))
    denoise = _dump_number(parameters.get("denoise"))
    return {
        "Steps": _dump_number(parameters.get("steps")),
        **(to_sampler_fields(sampler) if sampler else {}),
        "Schedule type": to_schedule_type(scheduler) if scheduler else None,
        "CFG scale": _dump_number(parameters.get("cfg")),
        "Seed": _to_seed(parameters.get("seed")),
        "Size": f"{width}x{height}" if width and height else None,
        "Denoising strength": denoise if denoise != "1" else None,
    }


def _file_fields(used: _Used) -> dict[str, str | None]:
    model, vae = used.model, used.vae
    loras: dict[str, str] = {}
    for lora in used.loras:
        # Civitai reads what stands between the quotes as fields again.
        if lora.autov3 and _is_carried(lora.stem) and not set(",:") & set(lora.stem):
            loras.setdefault(lora.stem, lora.autov3[:12])
    return {
        "Model hash": autov2(model.sha256) if model and model.sha256 else None,
        "Model": model.stem if model else None,
        "VAE hash": autov2(vae.sha256) if vae and vae.sha256 else None,
        # A1111 gives this one name with its extension.
        "VAE": vae.base if vae else None,
        "Lora hashes": ", ".join(f"{name}: {digest}" for name, digest in loras.items()),
    }


def _to_hashes(used: _Used) -> dict[str, str]:
    """Give what Civitai looks up; of two files with one name the first."""
    named = [
        ("model", used.model),
        ("vae", used.vae),
        *((f"lora:{lora.stem}", lora) for lora in used.loras),
        *((f"embed:{embedding.stem}", embedding) for embedding in used.embeddings),
    ]
    hashes: dict[str, str] = {}
    for name, file in named:
        if file is not None and file.sha256:
            hashes.setdefault(name, autov2(file.sha256))
    return hashes


def _to_words(entry: JsonObject, name: str) -> str:
    texts = [text.get("text") for text in _objects(entry.get(name))]
    known = [text for text in texts if isinstance(text, str)]
    if len(known) < len(texts):
        return ""
    # An encoder with two texts is mostly given the same one twice.
    return "\n".join(dict.fromkeys(text for text in known if text))


def _quote(value: str) -> str:
    """Quote as A1111 does; `_is_carried` has seen to it that nothing is escaped."""
    return json.dumps(value, ensure_ascii=False) if "," in value or ":" in value else value


def _is_carried(value: str) -> bool:
    return value.isprintable() and value == value.strip() and '"' not in value and "\\" not in value


def _to_seed(value: JsonValue) -> str | None:
    known = isinstance(value, str) and _SEED.fullmatch(value) and int(value) <= MAX_SEED
    return str(value) if known else None


def _dump_number(value: JsonValue) -> str | None:
    """Dump a number as the record does, so that one that was read gives the same text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return dump_canonical(value).decode() if abs(value) < _EXACT_INTEGER else None


def _to_name(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value != UNRESOLVED else None


def _to_sha256(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else None


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: JsonValue) -> list[JsonObject]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
