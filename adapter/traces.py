"""Where a reproduction parts from the recorded run: the first step whose latent differs."""

from __future__ import annotations

from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.record import JsonObject, Record
from ..src.comfyui_provenance.trace import compare_traces, parse_trace
from .live_prompt import LivePrompt
from .runs import recall


def locate_difference(record: Record, live: LivePrompt, prefix: str) -> list[str]:
    """Say of each sampling where its steps part from the recorded ones, or that they do not.

    Args:
        record: Of the image that was reproduced.
        live: The running prompt, with the rebuilt graph.
        prefix: What the ids of the rebuilt graph begin with.

    Returns:
        One sentence for each sampling that both runs followed, without a full stop.
    """
    found: list[str] = []
    for node_id, index, recorded in record.traces:
        now_id = prefix + node_id
        if not live.has(now_id):
            continue
        runs = recall(live.digest_run(now_id), 0)
        samplings = [run for run in runs if run.operation == "sample"]
        trace = samplings[index].trace if 0 <= index < len(samplings) else None
        if trace is not None:
            which = f"sampler {node_id}" if index == 0 else f"sampling {index + 1} of {node_id}"
            found.append(f"{which}: {compare_recorded_traces(recorded, trace)}")
    return found


def compare_recorded_traces(recorded: JsonObject, now: JsonObject) -> str:
    """Say where two samplings part, from their entries of `trace`, without a full stop."""
    try:
        difference = compare_traces(parse_trace(recorded), parse_trace(now))
    except (ProvenanceError, ValueError) as error:
        return f"its steps cannot be compared: {error}"
    if difference is None:
        return "the latent is the same bits after every step, so the runs part later"
    return str(difference)
