"""What clients send is read and worked on by few threads, and never by the one that serves them."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from aiohttp.web import FileField, HTTPForbidden, Response
from multidict import CIMultiDict, CIMultiDictProxy

from comfyui_provenance.pixels import encode_png

from support.builders import gradient

ROOT = Path(__file__).resolve().parents[2]
PACK = "provenance_without_comfyui"

WAIT_S = 30


@pytest.fixture(scope="module")
def requests() -> Iterator[ModuleType]:
    """The module by itself: of ComfyUI it needs where files are, which is not asked for here."""
    pack = ModuleType(PACK)
    pack.__path__ = [str(ROOT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "folder_paths", ModuleType("folder_paths"))
        patch.setitem(sys.modules, PACK, pack)
        yield importlib.import_module(f"{PACK}.routes.requests")
    for name in [name for name in sys.modules if name.startswith(f"{PACK}.")]:
        del sys.modules[name]


class Part(BytesIO):
    """A file of a form that notes which threads read it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.readers: list[str] = []

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file."""
        self.readers.append(threading.current_thread().name)
        return super().read(size)


def form_with(**parts: Part) -> SimpleNamespace:
    """Give a request with a form of files."""
    no_headers = CIMultiDictProxy(CIMultiDict[str]())
    fields = {
        name: FileField(name, f"{name}.png", part, "image/png", no_headers)  # type: ignore[arg-type]
        for name, part in parts.items()
    }

    async def post() -> dict[str, FileField]:
        return fields

    return SimpleNamespace(headers={}, query={}, content_type="multipart/form-data", post=post)


def test_the_files_of_a_form_are_read_by_the_thread_that_works_on_them(
    requests: ModuleType,
) -> None:
    image, beside = Part(encode_png(gradient())), Part(b"{}")
    found: list[Any] = []

    async def serve() -> Response:
        read = await requests.read_source(form_with(image=image, sidecar=beside))
        assert image.readers == beside.readers == []

        def work() -> dict[str, str]:
            found.append(read())
            return {}

        answer: Response = await requests.answer_with(work)
        return answer

    assert asyncio.run(serve()).status == 200
    assert found[0].pixels.samples == gradient().samples
    assert [name.rpartition("_")[0] for name in image.readers + beside.readers] == [
        "provenance-images",
        "provenance-images",
    ]


def test_four_images_are_worked_on_at_once_and_the_others_wait(requests: ModuleType) -> None:
    at_work: list[int] = []
    most: list[int] = []
    four = threading.Barrier(4)

    def work() -> dict[str, str]:
        at_work.append(0)
        most.append(len(at_work))
        four.wait(WAIT_S)
        time.sleep(0.05)
        at_work.pop()
        return {}

    async def serve() -> list[Response]:
        return await asyncio.gather(*[requests.answer_with(work) for _ in range(12)])

    assert [answer.status for answer in asyncio.run(serve())] == [200] * 12
    assert max(most) == 4


@pytest.mark.parametrize("read", ["read_source", "read_question"])
def test_a_page_of_another_site_is_refused_before_anything_is_read(
    requests: ModuleType, read: str
) -> None:
    request = SimpleNamespace(headers={"Sec-Fetch-Site": "cross-site"})

    with pytest.raises(HTTPForbidden) as refused:
        asyncio.run(getattr(requests, read)(request))

    assert json.loads(refused.value.text or "") == {
        "error": "a page of another site cannot ask this server"
    }
