"""A record says what the machine computes with, and never whose machine it is."""

from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text
from comfyui_provenance.record import KEYWORD, seal

from support import prompts
from support.reports import kinds, reproduce
from support.server import PACK, ROOT, ComfyServer
from support.tampering import Edit, record_of

OTHER_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "PYTHONHASHSEED": "0",
    "NVIDIA_TF32_OVERRIDE": "/home/somebody/0",
}


def rewritten(data: bytes, edit: Edit) -> bytes:
    """Change a record and close it again, so that it is as another pack would have written it."""
    record = record_of(data)
    edit(record)
    return embed_text(data, {KEYWORD: seal(record).dump()})


@pytest.fixture(scope="module")
def saved(server: ComfyServer) -> bytes:
    (path,) = server.images(server.run(prompts.txt2img(seed=61, steps=2)))
    return path.read_bytes()


@pytest.fixture(scope="module")
def other_machine(server_with: Any) -> ComfyServer:
    return server_with("--fp32-vae", "--fast", "fp16_accumulation", environ=OTHER_MACHINE)


@pytest.fixture(scope="module")
def saved_elsewhere(other_machine: ComfyServer) -> bytes:
    (path,) = other_machine.images(other_machine.run(prompts.txt2img(seed=61, steps=2)))
    return path.read_bytes()


def test_a_record_names_processor_system_and_software(saved: bytes) -> None:
    environment = record_of(saved)["environment"]

    assert environment["cpu"]["capability"] == torch.backends.cpu.get_cpu_capability()
    assert environment["cpu"]["interop_threads"] >= 1
    assert environment["cpu"]["name"]
    assert environment["os_release"] in (platform.release(), "unknown")
    assert environment["precision"]["default"] == "float32"
    assert environment["precision"]["text_encoder"] == "float16"
    assert environment["launch"] == {"cpu": True}
    assert environment["variables"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_pack_is_recorded_with_its_version_and_commit(saved: bytes) -> None:
    environment = record_of(saved)["environment"]

    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert environment["node_packs"] == {PACK: version[1]}
    if (ROOT / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}", environment["node_pack_commits"][PACK])


def test_variables_and_options_that_change_bits_are_recorded_and_no_others(
    saved_elsewhere: bytes,
) -> None:
    environment = record_of(saved_elsewhere)["environment"]

    assert environment["launch"] == {
        "cpu": True,
        "fp32_vae": True,
        "fast": ["fp16_accumulation"],
    }
    assert environment["variables"]["ATEN_CPU_CAPABILITY"] == "default"
    assert environment["variables"]["PYTHONHASHSEED"] == "0"
    assert environment["variables"]["NVIDIA_TF32_OVERRIDE"] == "unknown"
    assert "OMP_WAIT_POLICY" not in environment["variables"]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_nothing_in_a_file_says_whose_machine_made_it(
    server: ComfyServer,
    other_machine: ComfyServer,
    saved: bytes,
    saved_elsewhere: bytes,
    where: str,
) -> None:
    data = saved if where == "here" else saved_elsewhere
    base = server.base if where == "here" else other_machine.base

    for secret in (str(base), base.name, str(ROOT), "somebody", "/home/"):
        assert secret.encode() not in data
    words = set(re.findall(r"\w+", " ".join(extract(data).values())))
    assert words.isdisjoint({getpass.getuser(), platform.node(), Path.home().name})


def test_two_runs_of_one_server_have_equal_fingerprints(server: ComfyServer, saved: bytes) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=62, steps=1)))

    again = record_of(path.read_bytes())
    assert set(again["fingerprint"]) == {"cpu"}
    assert again["fingerprint"] == record_of(saved)["fingerprint"]
    assert again["environment"] == record_of(saved)["environment"]


@pytest.mark.instructions("AVX2", "AVX512")
def test_another_instruction_set_has_another_fingerprint_and_explains_the_difference(
    server: ComfyServer, saved: bytes, saved_elsewhere: bytes
) -> None:
    report = reproduce(server, saved_elsewhere)

    assert report["pixels"]["max_abs"] > 0
    assert report["level"] in ("mismatch", "unknown")
    assert "cpu_isa" in kinds(report)
    measured = next(
        cause for cause in report["causes"] if "computes other bits" in cause["message"]
    )
    assert measured["kind"] == "cpu_isa"
    assert {"activations", "attention", "random_numbers"} <= set(measured["recorded"])
    assert measured["recorded"].keys() == measured["now"].keys()
    assert {"precision", "node_pack"} <= set(kinds(report))


def test_on_the_machine_that_made_it_an_image_is_bitwise_and_nothing_is_noted(
    server: ComfyServer, saved: bytes
) -> None:
    report = reproduce(server, saved)

    assert report["level"] == "bitwise"
    assert not [note for note in report["notes"] if "without effect" in note]


def test_a_fingerprint_that_differs_where_the_pixels_do_not_is_a_note(
    server: ComfyServer, saved: bytes
) -> None:
    def other_norms(record: dict[str, Any]) -> None:
        record["fingerprint"]["cpu"]["norms"] = "sha256-f32:" + "0" * 64

    report = reproduce(server, rewritten(saved, other_norms))

    assert report["causes"] == []
    assert [note for note in report["notes"] if "other bits than recorded in: norms" in note]


def test_a_record_from_before_fingerprints_still_reproduces(
    server: ComfyServer, saved: bytes
) -> None:
    def older(record: dict[str, Any]) -> None:
        del record["fingerprint"]
        environment = record["environment"]
        environment["node_packs"] = {PACK: "unknown"}
        for name in ("os_release", "libc", "precision", "variables", "launch"):
            del environment[name]

    report = reproduce(server, rewritten(saved, older))

    assert report["level"] == "bitwise"
    assert not [note for note in report["notes"] if "without effect" in note]
