"""Reading what the nodes report, from ComfyUI's history."""

from __future__ import annotations

from typing import Any

from .prompts import node
from .server import ComfyServer, History

Report = dict[str, Any]


def report_of(history: History) -> Report:
    """Give the one report of a finished prompt."""
    (report,) = [
        output["provenance_report"][0]
        for output in history.outputs.values()
        if "provenance_report" in output
    ]
    found: Report = report
    return found


def reproduce(server: ComfyServer, data: bytes, name: str | None = None) -> Report:
    """Upload an image, reproduce it and give the report."""
    uploaded = server.upload(data, name)
    return report_of(server.run({"reproduce": node("ProvenanceReproduce", image=uploaded)}))


def verify(server: ComfyServer, images: bytes, reference: bytes, **inputs: object) -> Report:
    """Upload an image and a reference, verify the one by the other and give the report."""
    prompt = {
        "load": node("LoadImage", image=server.upload(images)),
        "verify": node(
            "ProvenanceVerify", images=["load", 0], reference=server.upload(reference), **inputs
        ),
    }
    return report_of(server.run(prompt))


def first_cause(report: Report) -> tuple[str, Any, Any]:
    """Give the kind of the first cause, its recorded and its present value."""
    cause = report["causes"][0]
    return cause["kind"], cause["recorded"], cause["now"]


def kinds(report: Report) -> list[str]:
    """Give the kinds of all causes, in order."""
    return [cause["kind"] for cause in report["causes"]]
