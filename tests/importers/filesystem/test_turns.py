"""Threads that read directories take turns, unless one of them waits for its disk."""

import threading

import pytest

from retrovue.importers.filesystem.turns import Turns


def test_a_turn_ends_with_its_block() -> None:
    turns = Turns(60)
    with pytest.raises(OSError, match="gone"), turns.turn():
        raise OSError("gone")
    with turns.turn():
        pass
    assert turns.are_taken


def test_threads_wait_for_each_other() -> None:
    turns, order = Turns(60), list[str]()
    begun = threading.Event()

    def other() -> None:
        begun.set()
        with turns.turn():
            order.append("other")

    thread = threading.Thread(target=other)
    with turns.turn():
        thread.start()
        assert begun.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "other"]
    assert turns.are_taken


def test_a_disk_that_does_not_answer_holds_up_nobody() -> None:
    turns = Turns(0)
    with turns.turn(), turns.turn():  # the second one as another thread would
        assert not turns.are_taken
        turns._patience_s = 60
        with turns.turn():
            pass  # without waiting
