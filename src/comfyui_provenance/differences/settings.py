"""What two runs did otherwise inside, and where they ran.

The entries of `samplings` and `operations` tell how the work was done; `environment` and
`fingerprint` tell where. None of it is a widget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..canonical import JsonValue
from ..compare import compare_machines, compare_numerics
from ..graph.prompt import NodeId
from ..record import JsonObject
from ..verdict import Cause, CauseKind
from .candidate import DID, FOLLOWS, WHERE, Candidate
from .points import Phase
from .sides import Runs, SamplingPair, are_different, fields

_FIELDS: Final[Mapping[str, tuple[CauseKind, Phase]]] = {
    "seed": (CauseKind.SEED, Phase.NOISE),
    "sampler": (CauseKind.SAMPLER, Phase.STEP),
    "scheduler": (CauseKind.SCHEDULER, Phase.SIGMAS),
    "steps": (CauseKind.STEPS, Phase.SIGMAS),
    "cfg": (CauseKind.CFG, Phase.STEP),
    "denoise": (CauseKind.DENOISE, Phase.SIGMAS),
    "width": (CauseKind.SIZE, Phase.LATENT),
    "height": (CauseKind.SIZE, Phase.LATENT),
}
"""Parameters of a sampling. Where the graph does not tell why they differ, they follow from a value
that a node computed."""

_SETTINGS: Final[tuple[tuple[str, CauseKind, Phase, str], ...]] = (
    ("model_class", CauseKind.MODEL_FILE, Phase.STEP, "the model is of another class"),
    ("mode.precision", CauseKind.PRECISION, Phase.STEP, "another precision was asked for"),
    ("model_dtype", CauseKind.PRECISION, Phase.STEP, "the model's weights have another type"),
    ("compute_dtype", CauseKind.PRECISION, Phase.STEP, "the model computes in another type"),
    ("mode.noise", CauseKind.NOISE_SOURCE, Phase.NOISE, "the noise comes from another source"),
    ("noise_source.mode", CauseKind.NOISE_SOURCE, Phase.NOISE, "the noise is of another source"),
    (
        "noise_source.steps",
        CauseKind.NOISE_SOURCE,
        Phase.STEP,
        "the noise of the steps is drawn otherwise",
    ),
    ("mode.batch_invariant", CauseKind.BATCH, Phase.STEP, "batch invariance is set otherwise"),
    ("attention", CauseKind.ATTENTION, Phase.STEP, "the model attends with another function"),
    ("sampler_options", CauseKind.SAMPLER, Phase.STEP, "the sampler has other settings"),
    ("load.state", CauseKind.MEMORY, Phase.STEP, "the model was loaded otherwise"),
    (
        "load.patched_on_the_fly",
        CauseKind.MEMORY,
        Phase.STEP,
        "another number of weights was patched on the fly, as for lack of memory",
    ),
    (
        "patches.objects",
        CauseKind.NODE_PACK,
        Phase.STEP,
        "other parts of the model were replaced after it was loaded",
    ),
    (
        "patches.functions",
        CauseKind.NODE_PACK,
        Phase.STEP,
        "other functions were put into the model after it was loaded",
    ),
    (
        "patches.wrappers",
        CauseKind.NODE_PACK,
        Phase.STEP,
        "other functions stand around the model's work",
    ),
    (
        "patches.digest",
        CauseKind.NODE_PACK,
        Phase.STEP,
        "the model's weights were patched otherwise after it was loaded",
    ),
    (
        "weights_sample",
        CauseKind.NODE_PACK,
        Phase.STEP,
        "the weights in memory are not those of the recorded run, though the files are: something "
        "changed them after they were loaded",
    ),
    ("guider", CauseKind.GRAPH_EDITED, Phase.STEP, "another kind of guider sampled"),
    (
        "sampler_function",
        CauseKind.SAMPLER,
        Phase.STEP,
        "another function made the steps",
    ),
)
"""Fields of a sampling beside its parameters: dotted name, kind, first effect, words."""

_MODEL_FIELDS: Final = (
    "patches.objects",
    "patches.functions",
    "patches.wrappers",
    "patches.digest",
    "weights_sample",
)
"""What a file or an adapter of another content changes as well."""

_OPERATIONS: Final[tuple[tuple[str, CauseKind, str], ...]] = (
    ("tiled", CauseKind.TILED_VAE, "the VAE works in tiles in one of the runs, for lack of memory"),
    ("model_class", CauseKind.MODEL_FILE, "the model is of another class"),
    ("dtype", CauseKind.PRECISION, "it computes in another type"),
    ("device", CauseKind.DEVICE, "it runs on another type of device"),
    ("mode.precision", CauseKind.PRECISION, "another precision was asked for"),
)

_TORCH_FLAGS: Final = "flags"
_OWN_COMMIT: Final = "node_pack_commits.comfyui-provenance "

_VAE_WORDS: Final = ("vae",)
_TEXT_WORDS: Final = ("text_enc", "text_encoder")


def find_settings(runs: Runs) -> list[Candidate]:
    """List what two runs did otherwise inside, of what their records tell."""
    found: list[Candidate] = []
    for pair in runs.samplings:
        found += _parameters(pair)
        found += _settings(pair)
    found += _operations(runs)
    found += _demotions(runs)
    return found


def find_surroundings(runs: Runs) -> list[Candidate]:
    """List the differences of machine and software."""
    recorded, now = runs.recorded.record, runs.now.record
    causes = [
        *compare_numerics(recorded.fingerprint, now.fingerprint),
        *compare_machines(recorded.environment, now.environment),
    ]
    unique: dict[CauseKind, Cause] = {}
    for cause in causes:
        # This pack's version tells more than its commit, which changes with every word of it.
        if not cause.message.startswith(_OWN_COMMIT):
            unique.setdefault(cause.kind, cause)
    return [Candidate(cause, _phase_of(cause), None, tier=WHERE) for cause in unique.values()]


def _phase_of(cause: Cause) -> Phase | None:
    """Tell what an option can reach first; anything where it does not say."""
    words = cause.message.lower()
    if any(word in words for word in _TEXT_WORDS):
        return Phase.CONDITIONING
    return Phase.DECODE if any(word in words for word in _VAE_WORDS) else None


def _parameters(pair: SamplingPair) -> Iterator[Candidate]:
    for name, (kind, phase) in _FIELDS.items():
        if pair.differ(name):
            recorded, now = pair.recorded.get(name), pair.now.get(name)
            message = f"sampler {pair.node_id} had {name} {recorded!r}, and has {now!r}"
            cause = Cause(kind, message, recorded, now, pair.node_id)
            yield Candidate(cause, phase, pair.node_id, tier=FOLLOWS)


def _settings(pair: SamplingPair) -> Iterator[Candidate]:
    for name, kind, phase, words in _SETTINGS:
        recorded, now = _field(pair.recorded, name), _field(pair.now, name)
        if are_different(recorded, now):
            tier = FOLLOWS if name in (*_MODEL_FIELDS, "sampler_function") else DID
            yield _of_sampling(pair, kind, phase, words, recorded, now, tier)
    if pair.agree("steps") and pair.agree("sampler"):
        yield from _work(pair)
    before, after = fields(pair.recorded.get(_TORCH_FLAGS)), fields(pair.now.get(_TORCH_FLAGS))
    flags = [name for name in before if are_different(before[name], after.get(name))]
    if flags:
        yield _of_sampling(
            pair,
            CauseKind.PRECISION,
            Phase.STEP,
            "torch's flags are set otherwise",
            {name: before[name] for name in flags},
            {name: after.get(name) for name in flags},
        )


def _work(pair: SamplingPair) -> Iterator[Candidate]:
    """Compare how many conditionings and images ran together in a forward pass."""
    before, after = (
        fields(side.get("conditionings_per_forward")) for side in (pair.recorded, pair.now)
    )
    if before and after and before.keys() != after.keys():
        asked = are_different(
            _field(pair.recorded, "mode.cond_batch"), _field(pair.now, "mode.cond_batch")
        )
        yield _of_sampling(
            pair,
            CauseKind.BATCH if asked else CauseKind.MEMORY,
            Phase.STEP,
            "the conditionings run together in another way"
            + ("" if asked else ", which free memory decides"),
            before,
            after,
        )
    shapes = [side.get("latent_shape") for side in (pair.recorded, pair.now)]
    sizes = [shape[0] if isinstance(shape, list) and shape else None for shape in shapes]
    if are_different(sizes[0], sizes[1]):
        words = "the batch has another number of images"
        yield _of_sampling(pair, CauseKind.BATCH, Phase.STEP, words, sizes[0], sizes[1])


def _of_sampling(
    pair: SamplingPair,
    kind: CauseKind,
    phase: Phase,
    words: str,
    recorded: JsonValue,
    now: JsonValue,
    tier: int = DID,
) -> Candidate:
    message = f"sampler {pair.node_id}: {words}"
    cause = Cause(kind, message, recorded, now, pair.node_id)
    return Candidate(cause, phase, pair.node_id, tier=tier)


def _operations(runs: Runs) -> Iterator[Candidate]:
    """Compare how text encoders and VAEs worked."""
    for recorded_id, before in runs.recorded.operations.items():
        node_id = runs.to_now.get(recorded_id)
        if node_id is None:
            continue
        for first, second in zip(before, runs.now.operations.get(node_id, ()), strict=False):
            yield from _operation(node_id, first, second)


def _operation(node_id: NodeId, first: JsonObject, second: JsonObject) -> Iterator[Candidate]:
    operation = str(second.get("operation"))
    phase = {"vae_decode": Phase.DECODE, "vae_encode": Phase.LATENT}.get(
        operation, Phase.CONDITIONING
    )
    for name, kind, words in _OPERATIONS:
        recorded, now = _field(first, name), _field(second, name)
        if are_different(recorded, now):
            message = f"node {node_id} ({operation}): {words}"
            yield Candidate(Cause(kind, message, recorded, now, node_id), phase, node_id, tier=DID)


def _demotions(runs: Runs) -> Iterator[Candidate]:
    """Name what was pinned in one of the runs alone, by the kind that its demotion has."""
    recorded = {
        (runs.to_now.get(NodeId(str(entry.get("node_id")))), entry.get("message")): entry
        for entry in runs.recorded.demotions
    }
    now: dict[tuple[NodeId | None, JsonValue], JsonObject] = {
        (NodeId(str(entry.get("node_id"))), entry.get("message")): entry
        for entry in runs.now.demotions
    }
    for place in [*recorded, *now]:
        if (place in recorded) == (place in now) or place[0] is None:
            continue
        entry = recorded.get(place) or now.get(place) or {}
        kind = entry.get("kind")
        if kind == CauseKind.NUMERICS.value or kind not in [item.value for item in CauseKind]:
            continue
        only = "was so when the image was made" if place in recorded else "is so now alone"
        message = f"node {place[0]}: {entry.get('message')}; this {only}"
        cause = Cause(CauseKind(str(kind)), message, place in recorded, place in now, place[0])
        yield Candidate(cause, None, place[0], tier=DID)


def _field(entry: JsonObject, name: str) -> JsonValue:
    """Give a field of an entry, dotted names leading inwards."""
    value: JsonValue = entry
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
