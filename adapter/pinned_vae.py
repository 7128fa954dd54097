"""Deterministic Mode on a VAE: what it decodes and encodes is pinned and watched.

ComfyUI gives a VAE no wrappers; its own way to change one is a shallow copy with a cloned
patcher (0.30.0: comfy_extras/nodes_multigpu.py). The copy here decodes one image at a time
instead of as many as fit free memory, attends with one kernel, and never goes over to tiles
without a word.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import comfy.ldm.modules.diffusionmodules.model
import comfy.ldm.modules.temporal_ae
import comfy.ops
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.determinism import read_flags
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .log_warnings import heard_warnings
from .mode import Demotion, Mode, pinned_scope, seeded_random
from .runs import Run, remember

_ORIGINAL: Final = "_provenance_original"
"""The attribute by which a pinned copy knows the VAE that it was made from."""

_TILED: Final = (
    "decode_tiled_",
    "decode_tiled_1d",
    "decode_tiled_3d",
    "_decode_tiled_owned",
    "encode_tiled_",
    "encode_tiled_1d",
    "encode_tiled_3d",
    "_encode_tiled_owned",
)
"""Methods that `decode` and `encode` go over to when memory runs out (0.30.0: comfy/sd.py)."""

_MUCH_MEMORY: Final = 1 << 62


@dataclass(slots=True)
class _Pass:
    """One decoding or encoding.

    Attributes:
        may_tile: Whether tiles were asked for; otherwise they are a fallback.
        tiled: Whether it went over to tiles.
        images: How many forwards of the autoencoder ran so many images together.
    """

    may_tile: bool
    tiled: bool = False
    images: Counter[int] = field(default_factory=Counter)


_pass: ContextVar[_Pass | None] = ContextVar("pass", default=None)


def pin_vae(vae: Any, mode: Mode) -> Any:
    """Copy a VAE so that what it decodes and encodes is pinned as the mode asks.

    Args:
        vae: ComfyUI's VAE; not changed. A pinned one is pinned anew.
        mode: What to pin; one that is not deterministic pins nothing.
    """
    original = getattr(vae, _ORIGINAL, vae)
    if not mode.deterministic:
        return original
    pinned = copy.copy(original)
    setattr(pinned, _ORIGINAL, original)
    pinned.patcher = original.patcher.clone()
    free_bytes = _MUCH_MEMORY if _takes_frames(original) else 0
    pinned.patcher.get_free_memory = lambda device: free_bytes
    for name in _attention_blocks(original):
        pinned.patcher.add_object_patch(f"{name}.optimized_attention", _attend)
    if mode.precision == "fp32" and original.vae_dtype != torch.float32:
        _compute_in_fp32(pinned)
    operations = _Operations(pinned, mode)
    pinned.decode = operations.decode
    pinned.encode = operations.encode
    pinned.decode_tiled = operations.decode_tiled
    pinned.encode_tiled = operations.encode_tiled
    for name in _TILED:
        if hasattr(pinned, name):
            setattr(pinned, name, _guarded(getattr(pinned, name), name, mode))
    return pinned


class _Operations:
    """What a pinned VAE does in place of the methods of its class."""

    def __init__(self, vae: Any, mode: Mode) -> None:
        # Bound to the copy, so that they find its patcher and its guarded tiles.
        self._methods = {
            name: getattr(vae, name)
            for name in ("decode", "encode", "decode_tiled", "encode_tiled")
        }
        self._vae = vae
        self._mode = mode

    def decode(self, samples_in: Any, vae_options: dict[str, Any] | None = None) -> torch.Tensor:
        """Decode latents, one image at a time."""
        options = vae_options or {}
        one_by_one = not _takes_frames(self._vae) and not _is_nested(samples_in)
        if not one_by_one and self._mode.batch_invariant and len(samples_in) > 1:
            raise DeterminismError(
                f"batch_invariant: {type(self._vae.first_stage_model).__name__} decodes the frames "
                "of a video together; decode one, or switch batch_invariant off"
            )
        return self._watched("decode", samples_in, one_by_one, False, options)

    def encode(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        """Encode images, one at a time; the frames of a video together."""
        one_by_one = self._vae.latent_dim == 2 and pixel_samples.ndim == 4
        return self._watched("encode", pixel_samples, one_by_one, False)

    def decode_tiled(self, samples: Any, *args: Any, **kw: Any) -> torch.Tensor:
        """Decode in the tiles that were asked for."""
        return self._watched("decode_tiled", samples, False, True, *args, **kw)

    def encode_tiled(self, pixel_samples: torch.Tensor, *args: Any, **kw: Any) -> torch.Tensor:
        """Encode in the tiles that were asked for."""
        return self._watched("encode_tiled", pixel_samples, False, True, *args, **kw)

    def _watched(
        self, name: str, source: Any, one_by_one: bool, may_tile: bool, *args: Any, **kw: Any
    ) -> torch.Tensor:
        """Run one method of the VAE, pinned, and remember what it did."""
        method = self._methods[name]
        demotions: list[Demotion] = []
        found = _Pass(may_tile)
        token = _pass.set(found)
        try:
            with (
                heard_warnings() as heard,
                pinned_scope(self._mode, demotions),
                _counting(self._vae, found),
            ):
                flags = read_flags()
                if one_by_one and len(source) > 1:
                    parts = [
                        self._seeded(method, source[image : image + 1], *args, **kw)
                        for image in range(len(source))
                    ]
                    output = torch.cat(parts)
                else:
                    output = self._seeded(method, source, *args, **kw)
        finally:
            _pass.reset(token)
        if found.tiled:
            message = "memory ran out, and the VAE worked in tiles instead"
            demotions.append(Demotion(CauseKind.TILED_VAE, message))
        entry: JsonObject = {
            "flags": flags,
            "mode": self._mode.to_json(),
            "tiled": found.tiled or may_tile,
            "images_per_forward": {str(n): count for n, count in sorted(found.images.items())},
            "input": _digest(source),
            "output": _digest(output),
            "log": [*heard],
            **_describe(self._vae),
        }
        operation = f"vae_{name.partition('_')[0]}"
        remember(Run(operation, entry, tuple(demotions)))
        return output

    def _seeded(self, method: Callable[..., Any], source: Any, *args: Any, **kw: Any) -> Any:
        """Call a method with torch's global generator seeded by what it works on.

        Some VAEs add noise that nothing seeds (0.30.0: that of LTX Video, and of Stable Audio).
        """
        digest = hashlib.sha256((_digest(source) or "").encode("ascii")).digest()
        with seeded_random(int.from_bytes(digest[:8], "big") >> 1):
            return method(source, *args, **kw)


def _guarded(method: Callable[..., Any], name: str, mode: Mode) -> Callable[..., Any]:
    """Let a tiled method run where tiles were asked for, or as a fallback that is told."""

    def tiled(*args: Any, **kw: Any) -> Any:
        found = _pass.get()
        if found is not None and not found.may_tile:
            if mode.is_strict:
                doing = "decoding" if "decode" in name else "encoding"
                raise DeterminismError(
                    f"on_fallback = error: memory ran out while {doing}, and ComfyUI would have "
                    "gone on in tiles, which gives other pixels; free memory, use a smaller image "
                    "or a tiled VAE node, or set on_fallback to record"
                )
            found.tiled = True
        return method(*args, **kw)

    return tiled


@contextmanager
def _counting(vae: Any, found: _Pass) -> Generator[None]:
    """Count the images in each forward of the autoencoder, with hooks of torch's own."""

    def count(module: Any, args: Any) -> None:
        del module
        if args and isinstance(args[0], torch.Tensor):
            found.images[len(args[0])] += 1

    # `encode` and `decode` of an autoencoder call these as modules.
    names = ("encoder", "decoder", "taesd_encoder", "taesd_decoder")
    parts = [getattr(vae.first_stage_model, name, None) for name in names]
    modules = [part for part in parts if isinstance(part, torch.nn.Module)]
    hooks = [module.register_forward_pre_hook(count) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend with torch's own function, never in slices that free memory chooses.

    Args:
        q: Shape (batch, channels, height, width), or with frames; as core's functions take it
            (0.30.0: comfy/ldm/modules/diffusionmodules/model.py).
        k: The same.
        v: The same.
    """
    shape = q.shape
    heads = [
        tensor.reshape(shape[0], 1, shape[1], -1).transpose(2, 3).contiguous()
        for tensor in (q, k, v)
    ]
    out = comfy.ops.scaled_dot_product_attention(
        *heads, attn_mask=None, dropout_p=0.0, is_causal=False
    )
    return out.transpose(2, 3).reshape(shape)


def _attention_blocks(vae: Any) -> list[str]:
    """Name the modules whose attention core chose by flags and by what is installed."""
    block = comfy.ldm.modules.diffusionmodules.model.AttnBlock
    return [
        name for name, module in vae.first_stage_model.named_modules() if isinstance(module, block)
    ]


def _takes_frames(vae: Any) -> bool:
    """Tell whether a VAE decodes the frames of a video as one batch."""
    decoder = getattr(vae.first_stage_model, "decoder", None)
    return isinstance(decoder, comfy.ldm.modules.temporal_ae.VideoDecoder)


def _compute_in_fp32(pinned: Any) -> None:
    """Let a copy compute in float32 with the weights that it has."""
    pinned.vae_dtype = torch.float32
    pinned.patcher.force_cast_weights = True
    pinned.patcher.patches_uuid = uuid4()  # as `set_model_compute_dtype` does: load anew


def _describe(vae: Any) -> JsonObject:
    return {
        "model_class": type(vae.first_stage_model).__name__,
        "dtype": str(vae.vae_dtype).removeprefix("torch."),
        "device": str(vae.device.type),
    }


def _is_nested(samples: Any) -> bool:
    return bool(getattr(samples, "is_nested", False))


def _digest(value: Any) -> str | None:
    return str(digest_tensor(value)) if isinstance(value, torch.Tensor) else None
