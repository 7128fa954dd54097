"""A recorded graph with its files under the names that they have here.

A file is itself whatever it is called: it is found by its digest, and the graph that runs gets
its present name. Nothing that a record says is ever taken for a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..src.comfyui_provenance.embedding_words import rename_words
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt
from ..src.comfyui_provenance.graph.rebuild import set_input, with_values
from ..src.comfyui_provenance.graph.samplings import resolve
from ..src.comfyui_provenance.preflight import PlacedMaterial, State
from ..src.comfyui_provenance.record import JsonObject, JsonValue, Material
from .digests import Patience
from .places import locate, words_of


@dataclass(frozen=True, slots=True)
class Substitution:
    """A file that is used under another name than the recorded one.

    Attributes:
        kind: As in `Material`.
        node_id: As in `Material`.
        input: As in `Material`.
        recorded_name: The name in the record.
        name: The name that runs here.
        sha256: The recorded one, 64 hexadecimal digits.
    """

    kind: str
    node_id: NodeId
    input: str
    recorded_name: str
    name: str
    sha256: str

    def to_json(self) -> JsonObject:
        """Give the attributes under their names."""
        return {
            "kind": self.kind,
            "node_id": self.node_id,
            "input": self.input,
            "recorded_name": self.recorded_name,
            "name": self.name,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Substituted:
    """A graph with the files that are here.

    Attributes:
        prompt: The graph to run.
        substitutions: What was renamed in it.
        placed: Where each recorded file is.
    """

    prompt: Prompt
    substitutions: tuple[Substitution, ...]
    placed: tuple[PlacedMaterial, ...]

    @property
    def other(self) -> tuple[Material, ...]:
        """Recorded files in whose place it runs with others."""
        return self._in(State.OTHER)

    @property
    def missing(self) -> tuple[Material, ...]:
        """Recorded files that are not here."""
        return self._in(State.MISSING)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for humans, each about one file."""
        return tuple(
            f"{placed.material.kind} file {placed.material.name!r}: {placed.note}"
            for placed in self.placed
            if placed.note
        )

    def _in(self, state: State) -> tuple[Material, ...]:
        return tuple(placed.material for placed in self.placed if placed.state is state)


def substitute(
    prompt: Prompt,
    materials: Sequence[Material],
    patience: Patience,
    values: Mapping[Link, JsonValue] | None = None,
) -> Substituted:
    """Put the present names of recorded files into a graph.

    Args:
        prompt: The recorded graph.
        materials: Its files, as recorded.
        patience: How long to wait for digests.
        values: What its nodes computed, as recorded; read, never put into the graph.
    """
    placed = locate(prompt, materials, patience, values)
    moved = [item for item in placed if item.state is State.ELSEWHERE]
    as_read = with_values(prompt, values or {})
    changed = prompt
    for node_id, name in dict.fromkeys((i.material.node_id, i.material.input) for i in moved):
        here = [i for i in moved if (i.material.node_id, i.material.input) == (node_id, name)]
        value = resolve(as_read, as_read.nodes[node_id].inputs[name])
        # All at once: of two files that changed places, one name would undo the other.
        changed = set_input(changed, node_id, name, _renamed(value, here, materials))
    substitutions = (_to_substitution(item) for item in moved)
    return Substituted(
        changed,
        tuple(item for item in substitutions if item.name != item.recorded_name),
        tuple(placed),
    )


def _renamed(
    value: JsonValue, moved: Sequence[PlacedMaterial], materials: Sequence[Material]
) -> JsonValue:
    """Put other names into what an input holds."""
    names = {item.material.name: item.name_here or "" for item in moved}
    words: dict[str, str] = {}
    for item in moved:
        if isinstance(value, str) and value != item.material.name:
            words |= dict.fromkeys(words_of(value, item.material, materials), item.name_here or "")
    return rename_words(value, words) if isinstance(value, str) and words else _put(value, names)


def _put(value: JsonValue, names: Mapping[str, str]) -> JsonValue:
    """Put other names for texts that are exactly a name, in lists and objects too."""
    if isinstance(value, list):
        return [_put(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _put(item, names) for key, item in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


def _to_substitution(item: PlacedMaterial) -> Substitution:
    material = item.material
    return Substitution(
        material.kind,
        material.node_id,
        material.input,
        material.name,
        item.name_here or "",
        material.sha256 or "",
    )
