"""A measurement is made once, while no prompt can begin, and all who ask get it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from threading import Event, RLock

import pytest

from support.modules_alone import load_alone

WAIT_S = 30


class Queue:
    """What is used of ComfyUI's queue of prompts."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.times_asked_for = 0
        self.currently_running: dict[int, str] = {}

    @property
    def mutex(self) -> AbstractContextManager[object]:
        """The lock, which ComfyUI's own thread needs, too."""
        self.times_asked_for += 1
        return self._lock

    def is_free(self) -> bool:
        """Tell whether another thread could take the queue now."""

        def take() -> bool:
            if not self._lock.acquire(blocking=False):
                return False
            self._lock.release()
            return True

        with ThreadPoolExecutor(1) as other:
            return other.submit(take).result()


class Device:
    """A measurement that a test lets end; it counts how often it is made.

    Attributes:
        queue: What it is made with.
        measured: Whether the queue was free, at each measurement.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.measured: list[bool] = []
        self.begun, self.may_end = Event(), Event()

    def measure(self) -> str:
        """Give what is measured, once that may end."""
        self.begun.set()
        assert self.may_end.wait(WAIT_S)
        self.measured.append(self.queue.is_free())
        return "bits"


@pytest.fixture
def device() -> Device:
    return Device(Queue())


@pytest.fixture
def get(device: Device) -> Callable[[], str | None]:
    once = load_alone("measured_once").MeasuredOnce(device.measure)
    return lambda: once.get(device.queue)


def test_it_is_measured_once_and_no_prompt_can_begin_meanwhile(
    device: Device, get: Callable[[], str | None]
) -> None:
    device.may_end.set()

    assert [get(), get()] == ["bits", "bits"]
    assert device.measured == [False]
    assert device.queue.is_free()


def test_nothing_is_measured_while_a_prompt_runs(
    device: Device, get: Callable[[], str | None]
) -> None:
    device.may_end.set()
    device.queue.currently_running[0] = "prompt"
    during = get()
    device.queue.currently_running.clear()

    assert (during, get()) == (None, "bits")


def test_others_who_ask_meanwhile_get_the_same_and_do_not_take_the_queue(
    device: Device, get: Callable[[], str | None]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(get)
        assert device.begun.wait(WAIT_S)
        taken = device.queue.times_asked_for
        others = [threads.submit(get) for _ in range(3)]
        _, waiting = wait(others, timeout=0.5)
        taken_meanwhile = device.queue.times_asked_for - taken
        device.may_end.set()
        found = [asked.result(WAIT_S) for asked in (first, *others)]

    assert len(waiting) == 3
    assert taken_meanwhile == 0
    assert found == ["bits"] * 4
    assert len(device.measured) == 1


def test_a_measurement_that_fails_is_tried_again(device: Device) -> None:
    failing = [True]

    def measure() -> str:
        if failing:
            failing.clear()
            raise RuntimeError("out of memory")
        return "bits"

    once = load_alone("measured_once").MeasuredOnce(measure)
    with pytest.raises(RuntimeError, match="out of memory"):
        once.get(device.queue)

    assert once.get(device.queue) == "bits"
