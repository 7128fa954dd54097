"""A measurement is made once, while no prompt can begin, and nobody waits for another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, RLock
from types import SimpleNamespace

import pytest

from support.modules_alone import load_alone

WAIT_S = 30


class Queue:
    """What is used of ComfyUI's queue of prompts."""

    def __init__(self) -> None:
        self.mutex = RLock()
        self.currently_running: dict[int, str] = {}

    def is_free(self) -> bool:
        """Tell whether another thread could take the queue now."""

        def take() -> bool:
            if not self.mutex.acquire(blocking=False):
                return False
            self.mutex.release()
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


def test_others_who_ask_meanwhile_get_no_answer_at_once_and_do_not_take_the_queue(
    device: Device, get: Callable[[], str | None]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(get)
        assert device.begun.wait(WAIT_S)
        others = [threads.submit(get) for _ in range(3)]
        try:
            found = [other.result(WAIT_S) for other in others]
            is_measuring = not first.done()
        finally:
            device.may_end.set()

    assert found == [None] * 3
    assert is_measuring
    assert first.result() == "bits"
    assert len(device.measured) == 1
    assert get() == "bits"


def test_who_comes_when_it_was_just_measured_does_not_measure_it_again(device: Device) -> None:
    @contextmanager
    def taken_late() -> Iterator[None]:
        """Let another thread's measurement end between the first look at it and this one."""
        once._measured.append("known by now")
        yield

    once = load_alone("measured_once").MeasuredOnce(device.measure)
    queue = SimpleNamespace(mutex=taken_late(), currently_running={})

    assert once.get(queue) == "known by now"
    assert device.measured == []


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
