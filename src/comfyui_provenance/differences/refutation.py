"""What the records show to have had no effect: the digests after it are the same."""

from __future__ import annotations

from typing import Final

from ..graph.prompt import Link, NodeId
from ..graph.trace import upstream
from ..verdict import CauseKind
from .points import same_conditioning, same_conditionings
from .sides import Runs, SamplingPair

_DETERMINISTIC: Final = frozenset(
    {
        "euler",
        "heun",
        "heunpp2",
        "dpm_2",
        "lms",
        "dpmpp_2m",
        "deis",
        "ipndm",
        "ipndm_v",
        "uni_pc",
        "uni_pc_bh2",
        "ddim",
        "res_multistep",
        "gradient_estimation",
    }
)
"""Core's samplers that draw no noise of their own: a seed acts through the first noise alone."""


def reaches_output(runs: Runs, node_id: NodeId, equal: set[Link]) -> bool:
    """Tell whether what a node gives can reach the image through outputs not shown equal."""
    users: dict[NodeId, list[Link]] = {}
    for user_id in runs.now.order:
        for value in runs.now.prompt.nodes[user_id].inputs.values():
            if isinstance(value, Link) and value not in equal:
                users.setdefault(value.node_id, []).append(Link(user_id, 0))
    output = runs.now.record.output
    if output in equal:
        return False
    seen: set[NodeId] = set()
    waiting = [node_id]
    while waiting:
        found = waiting.pop()
        if found == output.node_id:
            return True
        if found not in seen:
            seen.add(found)
            waiting += [link.node_id for link in users.get(found, ())]
    return False


def is_refuted(runs: Runs, kind: CauseKind, node_id: NodeId) -> bool:
    """Tell whether the samplings show that a change of this kind changed none of them."""
    pairs = samplings_below(runs, node_id)
    return bool(pairs) and all(_spares(pair, kind) for pair in pairs)


def samplings_below(runs: Runs, node_id: NodeId) -> list[SamplingPair]:
    """Give the samplings that depend on a node; all of them where that is not known."""
    found: list[SamplingPair] = []
    for pair in runs.samplings:
        if pair.node_id in runs.now.prompt.nodes and node_id in upstream(
            runs.now.prompt, pair.node_id
        ):
            found.append(pair)
    return found


def _spares(pair: SamplingPair, kind: CauseKind) -> bool:
    """Tell whether one sampling shows that a change of this kind did not reach it."""
    if kind is CauseKind.SEED:
        return pair.agree("noise") and _draws_no_noise(pair)
    if kind in (CauseKind.SCHEDULER, CauseKind.STEPS, CauseKind.DENOISE):
        return pair.agree("sigmas")
    if kind is CauseKind.SAMPLER:
        return pair.agree("sampler_function") and pair.agree("sampler_options")
    if kind is CauseKind.PROMPT_TEXT:
        return same_conditioning(pair, "positive")
    if kind is CauseKind.NEGATIVE_TEXT:
        return same_conditioning(pair, "negative") or _ignores_negative(pair)
    if kind in (CauseKind.ADAPTER_FILE, CauseKind.ADAPTER_STRENGTH):
        return same_conditionings(pair) and _same_patches(pair)
    if kind is CauseKind.CONTROLNET:
        return same_conditionings(pair) and not _has_control(pair)
    return False


def _draws_no_noise(pair: SamplingPair) -> bool:
    samplers = pair.recorded.get("sampler"), pair.now.get("sampler")
    return all(isinstance(name, str) and name in _DETERMINISTIC for name in samplers)


def _ignores_negative(pair: SamplingPair) -> bool:
    """Tell whether core leaves the negative conditioning out: at a CFG of exactly 1."""
    sides = (pair.recorded, pair.now)
    return all(side.get("cfg") == 1 and "cfg_pp" not in str(side.get("sampler")) for side in sides)


def _same_patches(pair: SamplingPair) -> bool:
    return pair.agree("patches")


def _has_control(pair: SamplingPair) -> bool:
    text = str(pair.now.get("conditionings")) + str(pair.recorded.get("conditionings"))
    return "'control'" in text
