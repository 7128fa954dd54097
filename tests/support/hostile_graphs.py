"""Graphs that ask a server for what it must not do, each in a file whose digests all fit.

The graph is that of `prompts.txt2img`: loader, positive, negative, latent, sampler, decode.
"""

from __future__ import annotations

from typing import Final

from comfyui_provenance.digest import digest_bytes
from comfyui_provenance.pixels import Pixels

from .builders import image_file
from .hostile import Hostile, graph, judged_graph, resealed, with_record
from .prompts import CHECKPOINT, LORA, in_mode, node
from .tampering import Edit, Graph, set_input

LARGE: Final = image_file("PNG", Pixels(bytes(4096 * 4096), 4096, 4096, 1))
"""A picture that is allowed, but not 64 times; among the uploads, under a name of its own."""

SECRETS: Final = (
    "unique_id",
    "prompt",
    "dynprompt",
    "extra_pnginfo",
    "auth_token_comfy_org",
    "api_key_comfy_org",
)
"""Inputs through which ComfyUI itself gives nodes what only the user knows."""

RECIPIENT: Final = "reproduce"
"""The id of the node that reproduces, in the prompt of the user."""

OUTSIDE: Final = "outside.png"
"""A picture in the server's base folder, where no image has any business."""

_NASTY: Final = "<script>alert(1)</script>\x1b[2J\x07\u202egnp.exe\u2066${7*7}{{7*7}}%n%s'\";--"


def last(class_type: str, source: str = "image", /, **inputs: object) -> Edit:
    """Give an edit that lets another node make the image of what was decoded."""

    def edit(found: Graph) -> None:
        found["decoded"] = found["decode"]
        found["decode"] = node(class_type, **{source: ["decoded", 0]}, **inputs)

    return edit


def instead(class_type: str, /, **inputs: object) -> Edit:
    """Give an edit that puts a node without sources in the place of the decoder."""
    return lambda found: found.update(decode=node(class_type, **inputs))


def between(name: str, class_type: str, source: str, **inputs: object) -> Edit:
    """Give an edit that puts a node before the sampler's input `name`."""

    def edit(found: Graph) -> None:
        link = found["sampler"]["inputs"][name]
        found["between"] = node(class_type, **{source: link}, **inputs)
        found["sampler"]["inputs"][name] = ["between", 0]

    return edit


def renamed(old: str, new: str) -> Edit:
    """Give an edit that gives a node another id."""

    def edit(found: Graph) -> None:
        found[new] = found.pop(old)
        for entry in found.values():
            for name, value in entry["inputs"].items():
                if isinstance(value, list) and value[0] == old:
                    entry["inputs"][name] = [new, value[1]]

    return edit


def many(*edits: Edit) -> Edit:
    """Give an edit that makes several."""

    def edit(found: Graph) -> None:
        for each in edits:
            each(found)

    return edit


def _linked_switch(found: Graph) -> None:
    found["switch"] = node("PrimitiveBoolean", value=False)
    found["sampler"]["inputs"]["deterministic_mode"] = ["switch", 0]


def _unknown_link(found: Graph) -> None:
    found["ghost"] = node("EmptyLatentImage", width=64, height=64, batch_size=-1)
    found["decode"]["inputs"]["ghost"] = ["ghost", 0]


def _named_like_secrets(found: Graph) -> None:
    for entry in found.values():
        entry["inputs"] |= dict.fromkeys(SECRETS, "give it to me")


def _smuggled(found: Graph) -> None:
    for entry in found.values():
        entry |= {"is_changed": ["same"], "_meta": {"title": _NASTY}, "override_display_id": "save"}


def _own_nonce(found: Graph) -> None:
    for entry in found.values():
        entry["inputs"]["provenance_nonce"] = "the same each time"


def _mode(**options: object) -> Edit:
    def edit(found: Graph) -> None:
        found |= in_mode(dict(found), **options)

    return edit


def _moved(data: bytes) -> bytes:
    """Repeat a picture that is found by its digest alone; core would refuse the graph, too."""

    def edit(found: Graph) -> None:
        found["picture"] = node("LoadImage", image="gone.png")
        found["repeated"] = node("RepeatImageBatch", image=["picture", 0], amount=64)
        found["latent"] = node("VAEEncode", pixels=["repeated", 0], vae=["loader", 2])
        found["sampler"]["inputs"]["sampler_name"] = "none of core's"

    def tell(record: Graph) -> None:
        record["materials"].append(
            {
                "kind": "input",
                "name": "gone.png",
                "node_id": "picture",
                "input": "image",
                "status": "hashed",
                "size_bytes": len(LARGE),
                "sha256": digest_bytes(LARGE).hex,
            }
        )

    return with_record(tell)(resealed(edit)(data))


def _strangers(found: Graph) -> None:
    for at in range(2000):
        found[f"stranger{at}"] = node(f"{at:04}" * 500)
    found["decode"]["inputs"] |= {f"x{at}": [f"stranger{at}", 0] for at in range(2000)}


def _cycle(found: Graph) -> None:
    found["positive"]["inputs"]["clip"] = ["decode", 0]


def _class(value: object) -> Edit:
    return lambda found: found["latent"].update(class_type=value)


def _inputs(value: object) -> Edit:
    return lambda found: found["latent"].update(inputs=value)


def _link(slot: object) -> Edit:
    return set_input("decode", "samples", ["sampler", slot])


_NAMES: Final = {
    "above": "../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "absolute on Windows": "C:\\Windows\\win.ini",
    "above on Windows": "..\\..\\comfyui.log",
    "of a share": "\\\\host\\share\\x.safetensors",
    "with a NUL": f"{CHECKPOINT}\0.png",
    "of the log": "../comfyui.log [output]",
    "of the policy": "../user/__provenance/policy.json [temp]",
    "of a device": "/dev/zero",
    "of a picture above": f"../{OUTSIDE}",
    "of a picture above another folder": f"../{OUTSIDE} [temp]",
}

_WRITERS: Final[dict[str, dict[str, object]]] = {
    "SaveLatent": {"samples": ["sampler", 0], "filename_prefix": "../../stolen"},
    "SaveAnimatedWEBP": {"images": ["decoded", 0], "filename_prefix": "/stolen/animated"},
    "SaveImageAdvanced": {"images": ["decoded", 0], "filename_prefix": "%date:yyyy%/stolen"},
    "CheckpointSave": {
        "model": ["loader", 0],
        "clip": ["loader", 1],
        "vae": ["loader", 2],
        "filename_prefix": "checkpoints/stolen",
    },
    "SaveText": {"text": "stolen", "filename_prefix": "stolen"},
    "PreviewAny": {"source": ["decoded", 0]},
    "ProvenanceSaveImage": {"images": ["decoded", 0], "filename_prefix": "stolen"},
    "ProvenanceReproduce": {"image": "hostile.png"},
    "ProvenanceReproduceResult": {"images": ["decoded", 0], "job": "0" * 32},
    "ProvenanceReadRecord": {"image": "hostile.png"},
    "ProvenanceVerify": {
        "images": ["decoded", 0],
        "reference": "hostile.png",
        "on_mismatch": "report",
    },
    "ProvenanceCompareRecords": {"first": "hostile.png", "second": "hostile.png"},
    "ProvenanceSelfTest": {"model": ["loader", 0]},
}

_NOT_LISTED: Final[dict[str, dict[str, object]]] = {
    "LoadTrainingDataset": {"folder_name": "../.."},
    "LoadImageDataSetFromFolder": {"folder": "../.."},
    "TrainLoraNode": {"model": ["loader", 0]},
    "LoadLatent": {"latent": "../../x"},
    "LoadImageOutput": {"image": "../../x.png [output]"},
    "GLSLShader": {"fragment_shader": "while(true){}"},
    "StringFormat": {"f_string": "{a:>9999999999}"},
    "RegexMatch": {"string": "a" * 99, "regex_pattern": "(a+)+$"},
    "LoraModelLoader": {"model": ["loader", 0]},
}

CLASSES: Final = [
    *(
        graph(f"an output node: {name}", last(name, "unused", **inputs), "output nodes are never")
        for name, inputs in _WRITERS.items()
    ),
    *(
        graph(f"a class that is not listed: {name}", instead(name, **inputs), "not on the list")
        for name, inputs in _NOT_LISTED.items()
    ),
    graph("code of a pack", instead("ThirdPartyCanary", word="hostile"), "third_party"),
    graph(
        "code of a pack that takes any input",
        instead("ThirdPartyFlexibleNoise", prompt=1),
        "third_party",
    ),
    judged_graph("a class that is not there", instead(_NASTY), "unrunnable"),
    graph("a class that is a number", _class(5), "class_type"),
    graph("a class that is a list", _class(["EmptyLatentImage"]), "class_type"),
    graph("a class that is empty", _class(""), "class_type"),
    graph("a class of ten thousand letters", _class("A" * 10_000), "at most 4096"),
    graph("inputs that are a list", _inputs([1]), "an object as the inputs"),
    graph("inputs that are a text", _inputs("x"), "an object as the inputs"),
    judged_graph(
        "a saving node on the way that would write above",
        many(last("SaveImage", "images", filename_prefix="../../../stolen")),
        "right",
    ),
    judged_graph(
        "a saving node on the way with an absolute name",
        many(last("SaveImage", "images", filename_prefix="/stolen/%date:yyyy%")),
        "right",
    ),
]

IDS: Final = [
    *(
        judged_graph(f"an id {name}", renamed("latent", node_id), "right")
        for name, node_id in {
            "of the node that reproduces": RECIPIENT,
            "in the form of an expansion": f"{RECIPIENT}.0.0.1",
            "that the rebuilt graph ends in": "result",
            "that the rebuilt graph is tried with": "preview",
            "of the node that saves": "save",
            "that turns text around": "\u202eid\u2066",
            "with a NUL": "a\0b",
            "of a prototype": "__proto__",
            "of markup": "<b>\x1b[2J",
        }.items()
    ),
    graph("an id that is empty", renamed("latent", ""), "empty"),
    graph("an id of three hundred letters", renamed("latent", "x" * 300), "at most 256"),
    graph("an id that is too long when renamed", renamed("latent", "x" * 256), "at most 256"),
]

LINKS: Final = [
    graph("a cycle", _cycle, "cycle"),
    graph("a node that depends on itself", set_input("decode", "samples", ["decode", 0]), "cycle"),
    graph("a link to nowhere", set_input("decode", "samples", ["gone", 0]), "dangling"),
    graph(
        "a link to the user's own node", set_input("decode", "samples", [RECIPIENT, 0]), "dangling"
    ),
    graph(
        "a link to the user's own node in a wrapper",
        set_input("decode", "samples", {"__value__": [RECIPIENT, 0]}),
        "another graph",
    ),
    graph(
        "a link in a wrapper beside something else",
        set_input("decode", "samples", {"__value__": [RECIPIENT, 0], "x": 1}),
        "another graph",
    ),
    graph("a link at an input that no class declares", _unknown_link, "a link as 'ghost'"),
    graph("a slot below zero", _link(-1), "a slot from 0"),
    graph("a slot of truth", _link(True), "a slot from 0"),
    graph("a slot with a fraction", _link(0.5), "a slot from 0"),
    graph("a slot that is no number", _link(float("nan")), "a slot from 0"),
    graph("a slot beyond all", _link(10**9), "a slot from 0"),
    graph("a slot that is not there", _link(99), "cannot run here"),
    graph("a link of another type", set_input("decode", "vae", ["positive", 0]), "cannot run here"),
    graph("a text where a model belongs", set_input("sampler", "model", _NASTY), ""),
]

NAMES: Final = [
    *(
        judged_graph(f"a picture's name {name}", instead("LoadImage", image=value), "unrunnable")
        for name, value in _NAMES.items()
    ),
    *(
        judged_graph(
            f"a checkpoint's name {name}", set_input("loader", "ckpt_name", value), "unrunnable"
        )
        for name, value in _NAMES.items()
    ),
    judged_graph(
        "an adapter's name above",
        between(
            "model",
            "LoraLoaderModelOnly",
            "model",
            lora_name=f"../loras/{LORA}",
            strength_model=1.0,
        ),
        "unrunnable",
    ),
    judged_graph(
        "words that name a file above",
        set_input("positive", "text", "embedding:../../../../etc/passwd"),
        "doubted",
    ),
    judged_graph("words of markup and escapes", set_input("positive", "text", _NASTY), "doubted"),
    graph("half a character", set_input("positive", "text", "\ud800"), "surrogate"),
    judged_graph(
        "a name of markup and escapes", set_input("loader", "ckpt_name", _NASTY), "unrunnable"
    ),
    Hostile("a large picture under another name", _moved, "refused", "pixels"),
    judged_graph("two thousand classes that are not there", _strangers, "unrunnable"),
]

PERMITTED: Final = [
    judged_graph("a stale mark that nothing has changed", _smuggled, "right"),
    judged_graph("a nonce of the stranger's", _own_nonce, "right"),
    judged_graph("inputs named like what only the user knows", _named_like_secrets),
    judged_graph("a linked Deterministic Mode", _linked_switch),
    judged_graph("Deterministic Mode for every image alone", _mode(batch_invariant=True)),
    judged_graph("Deterministic Mode with its own noise", _mode(noise="portable")),
    judged_graph(
        "Deterministic Mode in full precision and together",
        _mode(precision="fp32", cond_batch="together", on_fallback="error"),
    ),
]

GRAPHS: Final = [*CLASSES, *IDS, *LINKS, *NAMES, *PERMITTED]
