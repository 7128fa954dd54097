"""A client of ComfyUI's WebSocket, as the page is one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import aiohttp

from .server import ComfyServer

CONNECT_S = 10
RECEIVE_S = 0.1


class Events:
    """Listens while this context manager is open.

    Attributes:
        client_id: what to queue prompts with, to be told of them.
        seen: type and content of each event so far, in order.
    """

    def __init__(self, server: ComfyServer, client_id: str) -> None:
        self.client_id = client_id
        self.seen: list[tuple[str, Any]] = []
        self._url = f"{server.url}/ws?clientId={client_id}"
        self._open, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))

    def __enter__(self) -> Events:
        self._thread.start()
        if not self._open.wait(CONNECT_S):
            raise TimeoutError("expected a WebSocket")
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, kind: str, timeout_s: float = 10.0) -> list[Any]:
        """Give the content of each event of a type, once there is one; none if none comes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = [content for seen, content in self.seen if seen == kind]
            if found:
                return found
            time.sleep(0.02)
        return []

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            self._open.set()
            while not self._stop.is_set():
                try:
                    message = await socket.receive(timeout=RECEIVE_S)
                except TimeoutError:
                    continue
                if message.type is aiohttp.WSMsgType.TEXT:
                    event = json.loads(message.data)
                    self.seen.append((event["type"], event.get("data")))
