"""A graph is rebuilt from what tells it: a record, a sidecar, ComfyUI's prompt in any format."""

from __future__ import annotations

import io
import uuid

import pytest
from PIL import Image

from comfyui_provenance.containers import embed, extract, strip

from support import prompts
from support.prompts import node
from support.reports import Report, kinds, report_of, reproduce
from support.server import ComfyServer, PromptFailed
from support.tampering import record_of


@pytest.fixture(scope="module")
def with_sidecar(server: ComfyServer) -> tuple[bytes, bytes]:
    """An image, and the sidecar that was saved beside it."""
    graph = prompts.txt2img(seed=71, steps=2, filename_prefix="rebuild/whole")
    graph["save"]["inputs"]["sidecar"] = True
    (path,) = server.images(server.run(graph))
    return path.read_bytes(), path.with_name(f"{path.stem}.provenance.json").read_bytes()


def upload(server: ComfyServer, data: bytes, sidecar: bytes | None) -> str:
    """Upload an image with a sidecar beside it, as the command line does."""
    stem = uuid.uuid4().hex
    if sidecar is not None:
        server.upload(sidecar, f"{stem}.provenance.json")
    return server.upload(data, f"{stem}.png")


def run(server: ComfyServer, name: str) -> Report:
    """Reproduce an uploaded file."""
    return report_of(server.run({"reproduce": node("ProvenanceReproduce", image=name)}))


def test_an_image_without_metadata_is_reproduced_from_its_sidecar(
    server: ComfyServer, with_sidecar: tuple[bytes, bytes]
) -> None:
    data, sidecar = with_sidecar
    bare = strip(data)

    report = run(server, upload(server, bare, sidecar))

    assert report["level"] == "bitwise", report
    assert any("that of the sidecar" in note for note in report["notes"])
    with pytest.raises(PromptFailed, match="neither a record nor ComfyUI's prompt"):
        run(server, upload(server, bare, None))


def test_the_sidecar_of_another_image_is_a_mismatch(
    server: ComfyServer, with_sidecar: tuple[bytes, bytes]
) -> None:
    _, sidecar = with_sidecar
    (path,) = server.images(server.run(prompts.txt2img(seed=72, steps=2)))

    report = run(server, upload(server, strip(path.read_bytes()), sidecar))

    assert report["level"] == "mismatch"
    assert kinds(report) == ["image_edited"]


def test_a_sidecar_alone_is_judged_by_its_digest(
    server: ComfyServer, with_sidecar: tuple[bytes, bytes]
) -> None:
    _, sidecar = with_sidecar
    name = server.upload(sidecar, f"{uuid.uuid4().hex}.provenance.json")
    prompt = {
        "reproduce": node("ProvenanceReproduce", image=name),
        "show": node("PreviewImage", images=["reproduce", 0]),
    }

    history = server.run(prompt)

    report = report_of(history)
    assert report["level"] == "bitwise", report
    assert any("no pixels of the file" in note for note in report["notes"])
    assert len(history.outputs["show"]["images"]) == 1


def stock(server: ComfyServer, kind: str, **options: object) -> bytes:
    """Make a stock image and save it in another format, with ComfyUI's own texts."""
    graph = prompts.txt2img(seed=73, steps=2, sampler_class="KSampler", save_class="SaveImage")
    (path,) = server.images(server.run(graph))
    texts = extract(path.read_bytes())
    content = io.BytesIO()
    with Image.open(path) as image:
        image.save(content, kind, **options)
    return embed(content.getvalue(), {"prompt": texts["prompt"]})


def test_a_lossless_stock_file_is_its_own_reference(server: ComfyServer) -> None:
    report = reproduce(server, stock(server, "WEBP", lossless=True), "stock.webp")

    assert report["level"] == "bitwise", report


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_a_lossy_stock_file_is_unknown_with_the_numbers(server: ComfyServer, kind: str) -> None:
    report = reproduce(server, stock(server, kind, quality=80), f"stock.{kind.lower()}")

    assert report["level"] == "unknown", report
    assert report["pixels"]["psnr_db"] > 20
    assert "changed its pixels" in report["checks"][-1]["message"]


def test_an_a1111_text_is_made_a_graph_that_promises_no_bits(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=76, steps=2)))
    data = path.read_bytes()
    text = embed(strip(data), {"parameters": extract(data)["parameters"]})

    report = reproduce(server, text, "a1111.png")

    assert report["level"] in ("bitwise", "unknown"), report
    assert "a reconstruction from the file's A1111 text" in report["notes"][0]
    assert report["pixels"]["psnr_db"] is None or report["pixels"]["psnr_db"] > 30


def test_an_a1111_text_whose_model_is_not_here_names_it(server: ComfyServer) -> None:
    text = (
        "a fox\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, "
        "Model hash: 0123456789, Model: someone_elses"
    )
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, "PNG")

    with pytest.raises(PromptFailed, match=r"someone_elses.*0123456789"):
        reproduce(server, embed(content.getvalue(), {"parameters": text}))


def test_one_image_of_a_batch_is_made_alone_only_where_that_gives_the_same_bits(
    server: ComfyServer,
) -> None:
    pinned = prompts.in_mode(
        prompts.txt2img(seed=74, steps=2, batch_size=3, sampler_class="KSampler"),
        batch_invariant=True,
    )
    loose = prompts.txt2img(seed=75, steps=2, batch_size=3)
    for graph, images in ((pinned, 1), (loose, 3)):
        path = server.images(server.run(graph))[2]
        uploaded = server.upload(path.read_bytes())
        prompt = {
            "reproduce": node("ProvenanceReproduce", image=uploaded),
            "show": node("PreviewImage", images=["reproduce", 0]),
        }
        forwards = server.log_text().count("  0%|")

        report = report_of(server.run(prompt))

        assert report["level"] == "bitwise", report
        assert record_of(path.read_bytes())["subject"]["batch_index"] == 2
        assert server.log_text().count("  0%|") - forwards == 1
        checks = {check["name"]: check for check in report["checks"]}
        assert ("alone" in checks["rerun"]["message"]) == (images == 1)
    assert kinds(report) == []
