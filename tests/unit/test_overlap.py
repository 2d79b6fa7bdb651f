"""Reading ahead and writing behind change nothing but the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hunyuan_core.errors import MediaError
from hunyuan_core.overlap import read_ahead, write_behind


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def frame(value: int) -> np.ndarray:
    return np.full(100, value, np.uint8)


@pytest.mark.parametrize("depth", [1, 2, 30])
def test_items_come_in_order_and_from_another_thread(depth: int) -> None:
    makers = []

    def items() -> Iterator[int]:
        for i in range(20):
            makers.append(threading.current_thread())
            yield i

    with read_ahead(items(), depth) as read:
        assert list(read) == list(range(20))
    assert threading.current_thread() not in makers


def test_no_more_than_the_depth_is_made_ahead() -> None:
    used = 0

    def items() -> Iterator[int]:
        for i in range(50):
            assert i - used <= 4
            yield i

    with read_ahead(items(), 3) as read:
        for _ in read:
            used += 1
    assert used == 50


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise MediaError("breaks off at frame 3")

    seen = []

    def use() -> None:
        with read_ahead(items()) as read:
            for item in read:
                seen.append(item)

    with pytest.raises(MediaError, match="breaks off at frame 3"):
        use()
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MediaError])
def test_what_stops_the_user_stops_the_reader(error: type[BaseException]) -> None:
    num_made = 0

    def items() -> Iterator[int]:
        nonlocal num_made
        while True:
            num_made += 1
            yield num_made

    def use() -> None:
        with read_ahead(items()) as read:
            next(read)
            raise error

    with pytest.raises(error):
        use()
    assert num_made <= 4


def test_frames_are_written_in_order_by_another_thread_before_the_end() -> None:
    written: list[int] = []
    writers = set()

    def write(given: np.ndarray) -> None:
        writers.add(threading.current_thread())
        written.append(int(given[0]))

    with write_behind(write, 250) as hand_over:
        for i in range(100):
            hand_over(frame(i))
    assert written == list(range(100))
    assert threading.current_thread() not in writers


@pytest.mark.parametrize(("max_bytes", "num_waiting"), [(0, 1), (150, 1), (350, 3)])
def test_as_many_frames_wait_as_fit(max_bytes: int, num_waiting: int) -> None:
    num_made = num_written = 0
    ahead = []

    def write(_: np.ndarray) -> None:
        nonlocal num_written
        ahead.append(num_made - num_written)
        num_written += 1

    with write_behind(write, max_bytes) as hand_over:
        for i in range(200):
            hand_over(frame(i))
            num_made += 1
    assert num_written == 200
    assert max(ahead) <= num_waiting + 1


def failing(at: int, written: list[int]) -> Callable[[np.ndarray], None]:
    def write(given: np.ndarray) -> None:
        if given[0] == at:
            raise MediaError(f"no room for frame {at}")
        written.append(int(given[0]))

    return write


@pytest.mark.parametrize("at", [0, 5, 9])
def test_an_error_of_the_writer_is_told_and_nothing_is_written_after_it(at: int) -> None:
    written: list[int] = []

    def use() -> None:
        with write_behind(failing(at, written)) as hand_over:
            for i in range(10):
                hand_over(frame(i))

    with pytest.raises(MediaError, match=f"no room for frame {at}"):
        use()
    assert written == list(range(at))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_stops_the_maker_stops_the_writer(error: type[BaseException]) -> None:
    written: list[int] = []

    def use() -> None:
        with write_behind(failing(-1, written)) as hand_over:
            hand_over(frame(0))
            raise error

    with pytest.raises(error):
        use()
    assert written in ([], [0])
