"""Deterministic Mode on a VAE: what it decodes and encodes is pinned and watched.

ComfyUI gives a VAE no wrappers; its own way to change one is a shallow copy with a cloned
patcher (0.30.0: comfy_extras/nodes_multigpu.py). The copy here is of a class of its own, so
that copies of it are pinned, too. It decodes one image at a time instead of as many as fit
free memory, attends with one kernel, and never goes over to tiles without a word.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from uuid import uuid4

import comfy.ldm.modules.diffusionmodules.model
import comfy.ldm.modules.temporal_ae
import comfy.ops
import comfy.sd
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.determinism import read_flags
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .loading import MUCH_MEMORY, NO_MEMORY, told_free_memory
from .log_warnings import heard_warnings
from .mode import Demotion, Mode, pinned_scope, seeded_random
from .observation import host_attention_is_whole, host_attention_name
from .runs import Run, remember

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

_OWN_ATTENTION: Final = ("comfy.ldm.genmo.", "comfy.ldm.minimax.", "comfy.ldm.audio.vae_sa3")
"""Modules of core whose VAEs attend with what core chose for diffusion models (0.30.0)."""


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


def can_pin_vae(vae: Any) -> bool:
    """Tell whether an object is core's VAE, with weights in it."""
    return isinstance(vae, comfy.sd.VAE) and getattr(vae, "patcher", None) is not None


def pin_vae(vae: Any, mode: Mode) -> Any:
    """Copy a VAE so that what it decodes and encodes is pinned as the mode asks.

    Args:
        vae: Core's VAE, as `can_pin_vae` tells; not changed. A pinned one is pinned anew.
        mode: What to pin.
    """
    pinned = copy.copy(vae)
    pinned.patcher = vae.patcher.clone()
    if not _is_pinned(pinned):
        pinned.__class__ = _pinned_class(type(vae))
    pinned.provenance_mode = mode
    for name in _attention_attributes(pinned):
        pinned.patcher.add_object_patch(name, _attend)
    if mode.precision == "fp32" and pinned.vae_dtype != torch.float32:
        pinned.vae_dtype = torch.float32
        pinned.patcher.force_cast_weights = True
        pinned.patcher.patches_uuid = uuid4()  # load anew, as `set_model_compute_dtype` does
    return pinned


def _is_pinned(part: Any) -> bool:
    return isinstance(part, _PinnedVae)


class _PinnedVae:
    """What a pinned VAE does in place of the methods of core's class.

    Attributes:
        provenance_mode: What to pin.
    """

    provenance_mode: Mode

    def decode(
        self: Any, samples_in: Any, vae_options: dict[str, Any] | None = None
    ) -> torch.Tensor:
        """Decode latents, one image at a time; the frames of a video together."""
        frames = _takes_frames(self)
        if frames and self.provenance_mode.batch_invariant and len(samples_in) > 1:
            raise DeterminismError(
                f"batch_invariant: {type(self.first_stage_model).__name__} decodes the frames of "
                "a video together; decode one, or switch batch_invariant off"
            )
        one_by_one = not frames and not getattr(samples_in, "is_nested", False)
        core: Any = super()
        method = core.decode
        return _watched(
            self,
            "vae_decode",
            samples_in,
            lambda samples: method(samples, vae_options or {}),
            one_by_one=one_by_one,
        )

    def encode(self: Any, pixel_samples: torch.Tensor) -> torch.Tensor:
        """Encode images, one at a time; the frames of a video together."""
        one_by_one = self.latent_dim == 2 and pixel_samples.ndim == 4
        core: Any = super()
        return _watched(self, "vae_encode", pixel_samples, core.encode, one_by_one=one_by_one)

    def decode_tiled(self: Any, samples: Any, *args: Any, **kw: Any) -> torch.Tensor:
        """Decode in the tiles that were asked for."""
        core: Any = super()
        method = core.decode_tiled
        return _watched(
            self, "vae_decode", samples, lambda found: method(found, *args, **kw), may_tile=True
        )

    def encode_tiled(self: Any, pixel_samples: torch.Tensor, *args: Any, **kw: Any) -> torch.Tensor:
        """Encode in the tiles that were asked for."""
        core: Any = super()
        method = core.encode_tiled
        return _watched(
            self,
            "vae_encode",
            pixel_samples,
            lambda found: method(found, *args, **kw),
            may_tile=True,
        )


@cache
def _pinned_class(vae_class: type[Any]) -> type[Any]:
    """Derive the pinned class of a class of VAE: ours comes first, core's behind it."""
    members = {
        name: _guarded(getattr(vae_class, name), name)
        for name in _TILED
        if hasattr(vae_class, name)
    }
    return type(f"Pinned{vae_class.__name__}", (_PinnedVae, vae_class), members)


def _watched(
    vae: Any,
    operation: str,
    source: Any,
    method: Callable[[Any], torch.Tensor],
    *,
    one_by_one: bool = False,
    may_tile: bool = False,
) -> torch.Tensor:
    """Run one method of a VAE, pinned, and remember what it did."""
    mode: Mode = vae.provenance_mode
    demotions: list[Demotion] = []
    found = _Pass(may_tile)
    digest = _digest(source)
    free_bytes = MUCH_MEMORY if _takes_frames(vae) else NO_MEMORY
    token = _pass.set(found)
    try:
        with (
            heard_warnings() as heard,
            pinned_scope(mode, demotions),
            told_free_memory(vae.patcher, free_bytes),
            _counting(vae, found),
        ):
            flags = read_flags()
            if one_by_one and len(source) > 1:
                images = [source[image : image + 1] for image in range(len(source))]
                output = torch.cat([_seeded(method, image, _digest(image)) for image in images])
            else:
                output = _seeded(method, source, digest)
    finally:
        _pass.reset(token)
    demotions += _find_demotions(vae, found)
    entry: JsonObject = {
        "flags": flags,
        "mode": mode.to_json(),
        "tiled": found.tiled or may_tile,
        "images_per_forward": {str(n): count for n, count in sorted(found.images.items())},
        "input": digest,
        "output": _digest(output),
        "log": [*heard],
        "model_class": type(vae.first_stage_model).__name__,
        "dtype": str(vae.vae_dtype).removeprefix("torch."),
        "device": str(vae.device.type),
    }
    remember(Run(operation, entry, tuple(demotions)))
    return output


def _seeded(method: Callable[[Any], torch.Tensor], source: Any, digest: str | None) -> torch.Tensor:
    """Call a method with torch's global generator seeded by what it works on.

    Some VAEs add noise that nothing seeds (0.30.0: that of LTX Video, and of Stable Audio).
    """
    seed = hashlib.sha256((digest or "").encode("ascii")).digest()
    with seeded_random(int.from_bytes(seed[:8], "big") >> 1):
        return method(source)


def _find_demotions(vae: Any, found: _Pass) -> list[Demotion]:
    demotions: list[Demotion] = []
    if found.tiled:
        message = "memory ran out, and the VAE worked in tiles instead"
        demotions.append(Demotion(CauseKind.TILED_VAE, message))
    module = type(vae.first_stage_model).__module__
    if module.startswith(_OWN_ATTENTION) and not host_attention_is_whole():
        message = f"this VAE attends with {host_attention_name()}, which free memory divides"
        demotions.append(Demotion(CauseKind.ATTENTION, message))
    return demotions


def _guarded(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Let a tiled method run where tiles were asked for, or as a fallback that is told."""

    def tiled(self: Any, *args: Any, **kw: Any) -> Any:
        found = _pass.get()
        if found is not None and not found.may_tile:
            if self.provenance_mode.is_strict:
                doing = "decoding" if "decode" in name else "encoding"
                raise DeterminismError(
                    f"on_fallback = error: memory ran out while {doing}, and ComfyUI would have "
                    "gone on in tiles, which gives other pixels; free memory, use a smaller image "
                    "or a tiled VAE node, or set on_fallback to record"
                )
            found.tiled = True
        return method(self, *args, **kw)

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


def _attention_attributes(vae: Any) -> list[str]:
    """Name the attributes that hold the attention which core chose by flags and packages.

    Its classes keep what `vae_attention` gave when they were made (0.30.0: those of image
    autoencoders, of Wan, Cosmos, SeedVR and others).
    """
    model: Any = comfy.ldm.modules.diffusionmodules.model
    chosen = (model.normal_attention, model.pytorch_attention, model.xformers_attention)
    return [
        f"{name}.{attribute}" if name else attribute
        for name, module in vae.first_stage_model.named_modules()
        for attribute, value in vars(module).items()
        if any(value is function for function in (*chosen, _attend))
    ]


def _takes_frames(vae: Any) -> bool:
    """Tell whether a VAE decodes the frames of a video as one batch."""
    decoder = getattr(vae.first_stage_model, "decoder", None)
    return isinstance(decoder, comfy.ldm.modules.temporal_ae.VideoDecoder)


def _digest(value: Any) -> str | None:
    return str(digest_tensor(value)) if isinstance(value, torch.Tensor) else None
