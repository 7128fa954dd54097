"""Files that are others than the recorded ones, and adapters in another order."""

from __future__ import annotations

from ..graph.prompt import Link, NodeId
from ..integrity import MATERIAL_KINDS
from ..record import Material
from ..verdict import Cause, CauseKind
from .candidate import Candidate
from .kinds import PHASES
from .points import same_conditionings
from .refutation import is_refuted, reaches_output, samplings_below
from .sides import Runs, objects


def find_files(runs: Runs, equal: set[Link]) -> list[Candidate]:
    """List the files that are others than the recorded ones."""
    now: dict[tuple[NodeId, str], list[Material]] = {}
    for material in runs.now.record.materials:
        now.setdefault((material.node_id, material.input), []).append(material)
    found: list[Candidate] = []
    for material in runs.recorded.record.materials:
        node_id = runs.to_now.get(material.node_id)
        if node_id is None:
            continue
        here = now.get((node_id, material.input), [])
        other = _other_file(material, here)
        if other is None or material.sha256 is None or material.sha256 == other.sha256:
            continue
        found.append(_of_file(runs, material, other, node_id, equal))
    return found


def _other_file(material: Material, here: list[Material]) -> Material | None:
    """Find the file that stands now where a material stood."""
    same_name = next((item for item in here if item.name == material.name), None)
    if any(item.sha256 == material.sha256 is not None for item in here):
        return None
    same_kind = [item for item in here if item.kind == material.kind]
    return same_name or (same_kind[0] if same_kind else here[0] if here else None)


def _of_file(
    runs: Runs, material: Material, other: Material, node_id: NodeId, equal: set[Link]
) -> Candidate:
    kind = MATERIAL_KINDS.get(material.kind, CauseKind.MODEL_FILE)
    if other.status == "missing":
        what = "is not there"
    elif other.name == material.name:
        what = "is not the one that was used: the file of this name has other content"
    else:
        what = f"was used, and now it is {other.name!r}, with other content"
    cause = Cause(
        kind,
        f"{material.kind} file {material.name!r} {what}",
        material.sha256,
        other.sha256 or other.status,
        node_id,
    )
    refuted = not reaches_output(runs, node_id, equal) or is_refuted(runs, kind, node_id)
    if kind is CauseKind.MODEL_FILE and material.kind in ("text_encoders", "clip"):
        pairs = samplings_below(runs, node_id)
        refuted = refuted or (bool(pairs) and all(same_conditionings(pair) for pair in pairs))
    return Candidate(cause, PHASES.get(kind), node_id, refuted)


def tell_order(runs: Runs, found: list[Candidate]) -> list[Candidate]:
    """Tell the same adapters in another order as that, and not as files and strengths."""
    before, after = (side.record.parameters.get("adapters") for side in (runs.recorded, runs.now))
    if not isinstance(before, list) or not isinstance(after, list) or before == after:
        return found
    if sorted(map(repr, before)) != sorted(map(repr, after)):
        return found
    adapters = (CauseKind.ADAPTER_FILE, CauseKind.ADAPTER_STRENGTH)
    moved = [item for item in found if item.cause.kind in adapters]
    if not moved:
        return found
    names = [[item.get("name") for item in objects(side)] for side in (before, after)]
    message = "the same adapters are applied in another order"
    cause = Cause(CauseKind.ADAPTER_FILE, message, [*names[0]], [*names[1]], moved[0].cause.node_id)
    order = Candidate(cause, None, moved[0].node_id, moved[0].is_refuted)
    return [order, *(item for item in found if item not in moved)]
