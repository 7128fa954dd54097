"""Nodes and routes that make a real ComfyUI misbehave in one chosen way.

Only a test pack may replace a host function; each replacement here stands for what a
machine or another pack does: run out of memory, race, fail, be slow.
"""

import copy
import random
import time
import types

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.patcher_extension
import comfy.samplers
import comfy.sd
import comfy.taesd.taesd
import nodes
import torch
from aiohttp import web
from comfy.k_diffusion.sampling import default_noise_sampler
from server import PromptServer

_REAL_DECODE = comfy.taesd.taesd.TAESD.decode
_REAL_ENCODE = comfy.taesd.taesd.TAESD.encode
_failures = {"decode": 0, "encode": 0}


def _short_of_memory(name, real):  # noqa: ANN001, ANN202 - as core's
    def method(self, x, *args, **kw):  # noqa: ANN001, ANN002, ANN003, ANN202 - as core's
        if _failures[name] > 0:
            _failures[name] -= 1
            raise torch.OutOfMemoryError("pretended by the tests")
        return real(self, x, *args, **kw)

    return method


comfy.taesd.taesd.TAESD.decode = _short_of_memory("decode", _REAL_DECODE)
comfy.taesd.taesd.TAESD.encode = _short_of_memory("encode", _REAL_ENCODE)


@PromptServer.instance.routes.post("/test/vae_memory")
async def fail_vae(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Let the VAE run out of memory the next so many times."""
    _failures.update(await request.json())
    return web.json_response({})


@PromptServer.instance.routes.get("/test/torch_state")
async def torch_state(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Tell torch's global switches."""
    del request
    return web.json_response(
        {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
            "cudnn": [torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic],
            "precision": torch.get_float32_matmul_precision(),
            "mkldnn": torch.backends.mkldnn.matmul.fp32_precision,
            "threads": torch.get_num_threads(),
        }
    )


class _ModelNode:
    """Changes a model in one way."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "change"
    CATEGORY = "tests"


def _inputs(**more):  # noqa: ANN003, ANN202 - as node packs are written
    return {"required": {"model": ("MODEL",), **more}}


class TestRacyModel(_ModelNode):
    """Adds a sum whose order is a race between threads, unless torch is told otherwise."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return _inputs()

    def change(self, model):  # noqa: ANN001, ANN201 - as node packs are written
        """Wrap each forward."""
        generator = torch.Generator().manual_seed(1)
        values = torch.randn(1 << 18, generator=generator) * 1e3
        places = torch.zeros(1 << 18, dtype=torch.long)

        def forward(apply_model, arguments):  # noqa: ANN001, ANN202 - core's
            out = apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
            total = torch.zeros(4).index_put_((places,), values, accumulate=True)
            return out + torch.frac(total[0] * 7.3) * 0.5

        changed = model.clone()
        changed.set_model_unet_function_wrapper(forward)
        return (changed,)


class TestPerturbedModel(_ModelNode):
    """Has one weight changed after some steps of a sampling."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return _inputs(step=("INT", {}), size=("FLOAT", {"step": 1e-9, "round": False}))

    def change(self, model, step, size):  # noqa: ANN001, ANN201 - as node packs are written
        """Wrap each forward; the weight is put back after it."""

        def forward(apply_model, arguments):  # noqa: ANN001, ANN202 - core's
            sigmas = arguments["c"]["transformer_options"]["sample_sigmas"]
            now = arguments["timestep"][0].to(sigmas.device)
            made = int((sigmas > now * (1 + 1e-6)).sum())
            module = changed.model.diffusion_model.out[2]
            before = module.weight.detach().clone()
            try:
                if made >= step:
                    module.weight.data.mul_(1 + size)
                return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
            finally:
                module.weight.data.copy_(before)

        changed = model.clone()
        changed.set_model_unet_function_wrapper(forward)
        return (changed,)


class TestTroubledModel(_ModelNode):
    """Fails, or is slow, at one step of a sampling."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return _inputs(trouble=(["fail", "sleep", "indeterminate"], {}))

    def change(self, model, trouble):  # noqa: ANN001, ANN201 - as node packs are written
        """Wrap each forward."""

        def forward(apply_model, arguments):  # noqa: ANN001, ANN202 - core's
            out = apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
            if trouble == "fail":
                raise RuntimeError("failed in the middle of a sampling")
            if trouble == "sleep":
                time.sleep(1.0)
            if trouble == "indeterminate":
                # Torch has no deterministic version of this one on any device.
                torch.nn.functional.max_unpool1d(
                    torch.ones(1, 1, 2), torch.tensor([[[0, 2]]]), kernel_size=2
                )
            return out

        changed = model.clone()
        changed.set_model_unet_function_wrapper(forward)
        return (changed,)


class TestSharedWrapper(_ModelNode):
    """Stands around the whole batch, as packs that cache steps do."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return _inputs(where=(["model", "options"], {}))

    def change(self, model, where):  # noqa: ANN001, ANN201 - as node packs are written
        """Add a wrapper that keeps the shapes of what it saw."""

        def wrapper(executor, *args, **kw):  # noqa: ANN001, ANN002, ANN003, ANN202 - core's
            return executor(*args, **kw)

        kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
        changed = model.clone()
        if where == "model":
            changed.add_wrapper_with_key(kind, "shared_test", wrapper)
        else:
            comfy.patcher_extension.add_wrapper_with_key(
                kind, "shared_test", wrapper, changed.model_options, is_model_options=True
            )
        return (changed,)


class TestOddModel(_ModelNode):
    """Carries something that Deterministic Mode knows it cannot pin, or take apart by image."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        kinds = ["attention", "cond batch", "compile", "references", "injection", "context"]
        return _inputs(kind=(kinds, {}))

    def change(self, model, kind):  # noqa: ANN001, ANN201 - as node packs are written
        """Hang it on a clone."""
        changed = model.clone()
        options = changed.model_options
        if kind == "attention":
            changed.model_options["transformer_options"]["optimized_attention_override"] = (
                lambda func, *args, **kw: func(*args, **kw)
            )
        elif kind == "cond batch":
            changed.set_model_sampler_calc_cond_batch_function(
                lambda args: comfy.samplers.calc_cond_batch(
                    args["model"],
                    args["conds"],
                    args["input"],
                    args["sigma"],
                    args["model_options"],
                )
            )
        elif kind == "compile":
            options["torch_compile_kwargs"] = {}
        elif kind == "references":
            # As core's SUPIR and many packs do: a reference for each image of the batch.
            references = torch.arange(3).reshape(3, 1, 1, 1).float() * 0.2
            changed.set_model_sampler_post_cfg_function(
                lambda args: args["denoised"] + references[: len(args["denoised"])]
            )
        elif kind == "injection":
            nothing = comfy.patcher_extension.PatcherInjection(lambda p: None, lambda p: None)
            changed.set_injections("mixing_test", [nothing])
        elif kind == "context":
            options["context_handler"] = _NeverWindows()
        return (changed,)


class _NeverWindows:
    """A context handler that never uses windows."""

    def should_use_context(self, *args) -> bool:  # noqa: ANN002 - core's
        """Say no."""
        return False


class TestUnusualUse:
    """Uses models in ways that Deterministic Mode has no hold on."""

    RETURN_TYPES = ("IMAGE", "LATENT", "CONDITIONING")
    FUNCTION = "use"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {
            "required": {"samples": ("LATENT",), "way": (["detail", "own loop", "encode"], {})},
            "optional": {
                "model": ("MODEL",),
                "audio_vae": ("VAE",),
                "positive": ("CONDITIONING",),
            },
        }

    def use(self, samples, way, model=None, audio_vae=None, positive=None):  # noqa: ANN001, ANN201
        """Decode, sample without a guider, or encode."""
        latent = samples["samples"]
        if way == "detail":
            return audio_vae.decode(latent), samples, positive
        if way == "own loop":
            return None, {"samples": torch.randn(latent.shape)}, positive
        image = audio_vae.decode(latent)
        moved = audio_vae.encode(image).mean() * 0.01
        return image, samples, [[cond + moved, more] for cond, more in positive]


def _give_step_noise(  # noqa: ANN202 - core's form
    model,  # noqa: ANN001
    x,  # noqa: ANN001
    sigmas,  # noqa: ANN001
    extra_args=None,  # noqa: ANN001
    callback=None,  # noqa: ANN001
    disable=None,  # noqa: ANN001
    noise_sampler=None,  # noqa: ANN001
):
    """Give what a stochastic sampler would add at its first step, as core's draw it."""
    del model, callback, disable
    draw = noise_sampler or default_noise_sampler(x, seed=extra_args["seed"])
    return draw(sigmas[0], sigmas[1])


class TestStepNoise:
    """A sampler whose result is the noise of its first step."""

    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {}}

    def make(self):  # noqa: ANN201 - as node packs are written
        """Wrap the function as core's are."""
        return (comfy.samplers.KSAMPLER(_give_step_noise),)


class TestTwice:
    """Samples twice in one execution, as detailers do for each part of an image."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "sample"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {
            "required": {
                "model": ("MODEL",),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING",),
                "latent_image": ("LATENT",),
                "seed": ("INT", {}),
                "sampler_name": ("STRING", {}),
            }
        }

    def sample(self, model, positive, negative, latent_image, seed, sampler_name):  # noqa: ANN001, ANN201
        """Sample, and sample the result again with the next seed."""
        for more in (0, 1):
            (latent_image,) = nodes.common_ksampler(
                model, seed + more, 2, 7.0, sampler_name, "normal", positive, negative, latent_image
            )
        return (latent_image,)


class TestRandomSeed:
    """Gives another seed each time, as several packs' nodes do."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "give"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Never the same."""
        return float("nan")

    def give(self):  # noqa: ANN201 - as node packs are written
        """Draw it."""
        return (random.randrange(1, 10**6),)  # noqa: S311 - no secret


class TestOtherVAE:
    """Changes a VAE in a way that other packs do."""

    RETURN_TYPES = ("VAE",)
    FUNCTION = "change"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"vae": ("VAE",), "way": (["black", "foreign", "empty"], {})}}

    def change(self, vae, way):  # noqa: ANN001, ANN201 - as node packs are written
        """Give a shallow copy with other attributes, an object of another class, or no weights."""
        if way == "empty":
            return (comfy.sd.VAE(sd={}),)
        if way == "foreign":
            return (types.SimpleNamespace(decode=vae.decode, encode=vae.encode),)
        changed = copy.copy(vae)
        changed.patcher = vae.patcher.clone()
        changed.process_output = lambda image: image.mul_(0.0)
        return (changed,)


class TestAutoencoder:
    """Gives a small AutoencoderKL with attention, from a seed, as a real VAE."""

    RETURN_TYPES = ("VAE",)
    FUNCTION = "make"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {}}

    def make(self):  # noqa: ANN201 - as node packs are written
        """Fill the weights."""
        config = {
            "double_z": True,
            "z_channels": 4,
            "resolution": 64,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 64,
            # 512 channels in the middle: with fewer, attention in slices gives the same bits.
            "ch_mult": [1, 1, 2, 8],
            "num_res_blocks": 1,
            "attn_resolutions": [],
            "dropout": 0.0,
        }
        params = {"ddconfig": config, "embed_dim": 4}
        empty = comfy.sd.AutoencoderKL(**params).state_dict()
        generator = torch.Generator().manual_seed(7)
        weights = {
            name: torch.randn(value.shape, generator=generator)
            / max(1.0, float(value[0].numel()) if value.ndim > 1 else 1e3) ** 0.5
            + (1.0 if value.ndim == 1 and name.endswith("weight") else 0.0)
            for name, value in empty.items()
        }
        return (comfy.sd.VAE(sd=weights, config={"params": params}),)


class TestControlNet:
    """Gives a ControlNet of the tiny model's layout, from a seed."""

    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "make"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"model": ("MODEL",)}}

    def make(self, model):  # noqa: ANN001, ANN201 - as node packs are written
        """Fill the weights."""
        config = dict(model.model.model_config.unet_config)
        config.pop("out_channels", None)
        config.pop("disable_unet_model_creation", None)
        config.update(hint_channels=3, dtype=torch.float32, operations=comfy.ops.manual_cast)
        depths = config.pop("transformer_depth_output", None)
        del depths
        network = comfy.cldm.cldm.ControlNet(**config)
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for value in network.parameters():
                scale = float(value[0].numel()) ** -0.5 if value.ndim > 1 else 0.02
                value.copy_(torch.randn(value.shape, generator=generator) * scale)
        device = comfy.model_management.get_torch_device()
        return (comfy.controlnet.ControlNet(network.eval(), load_device=device),)


class TestBatchMasks:
    """Joins masks, which core has no node for."""

    RETURN_TYPES = ("MASK",)
    FUNCTION = "join"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"first": ("MASK",), "second": ("MASK",)}}

    def join(self, first, second):  # noqa: ANN001, ANN201 - as node packs are written
        """Join them along the batch."""
        return (torch.cat([first, second]),)


class TestPlaceInBatch:
    """Says which images of a batch a latent holds, as LatentFromBatch does."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "place"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"samples": ("LATENT",), "first": ("INT", {})}}

    def place(self, samples, first):  # noqa: ANN001, ANN201 - as node packs are written
        """Number them from `first`."""
        count = len(samples["samples"])
        return ({**samples, "batch_index": list(range(first, first + count))},)


NODE_CLASS_MAPPINGS = {
    "TestOddModel": TestOddModel,
    "TestUnusualUse": TestUnusualUse,
    "TestRandomSeed": TestRandomSeed,
    "TestTwice": TestTwice,
    "TestStepNoise": TestStepNoise,
    "TestOtherVAE": TestOtherVAE,
    "TestBatchMasks": TestBatchMasks,
    "TestPlaceInBatch": TestPlaceInBatch,
    "TestRacyModel": TestRacyModel,
    "TestPerturbedModel": TestPerturbedModel,
    "TestTroubledModel": TestTroubledModel,
    "TestSharedWrapper": TestSharedWrapper,
    "TestAutoencoder": TestAutoencoder,
    "TestControlNet": TestControlNet,
}
