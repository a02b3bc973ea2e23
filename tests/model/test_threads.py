"""The number of threads: the quickest that was tried, doubted when steps turn slow, given back afterwards."""

from __future__ import annotations

import pytest
import torch

from tympan.model import threads
from tympan.model.threads import ThreadChooser, Threads


class Machine:
    """A clock that a step moves on by what it takes with so many threads."""

    def __init__(self, **seconds: float) -> None:
        self.now_s = 0.0
        self.seconds = {int(name[1:]): taken for name, taken in seconds.items()}

    def clock(self) -> float:
        return self.now_s

    def run(self, chooser: ThreadChooser, n_steps: int) -> list[int]:
        counts = []
        for _ in range(n_steps):
            counts.append(chooser.next_count)
            chooser.begin()
            self.now_s += self.seconds[counts[-1]]
            chooser.end()
        return counts


def test_the_quickest_is_taken():
    machine = Machine(n1=3.0, n4=2.0, n8=4.0)
    chooser = ThreadChooser(8, machine.clock)
    assert machine.run(chooser, 9) == [1, 1, 1, 4, 4, 4, 8, 8, 8]
    assert machine.run(chooser, 5) == [4] * 5


def test_what_is_very_slow_is_given_up_after_one_step():
    machine = Machine(n1=1.0, n2=20.0)
    chooser = ThreadChooser(2, machine.clock)
    assert machine.run(chooser, 5) == [1, 1, 1, 2, 1]


def test_a_machine_that_gets_busy_is_noticed_and_so_is_one_that_gets_idle():
    machine = Machine(n1=2.0, n2=1.0)
    chooser = ThreadChooser(2, machine.clock)
    machine.run(chooser, 50)
    assert chooser.chosen == 2
    machine.seconds[2] = 30.0
    counts = machine.run(chooser, 10)
    assert counts[:2] == [2, 2]  # two slow steps are one too many
    assert counts[-4:] == [1] * 4
    machine.seconds[2] = 1.0
    machine.run(chooser, 2 * threads._STEPS_BETWEEN_TRIALS)
    assert chooser.chosen == 2


def test_one_slow_step_is_no_reason():
    machine = Machine(n1=2.0, n2=1.0)
    chooser = ThreadChooser(2, machine.clock)
    machine.run(chooser, 10)
    for _ in range(5):
        machine.seconds[2] = 30.0
        assert machine.run(chooser, 1) == [2]
        machine.seconds[2] = 1.0
        assert machine.run(chooser, 3) == [2] * 3


def test_trials_become_rare_while_nothing_changes():
    machine = Machine(n1=2.0, n2=1.0)
    counts = machine.run(ThreadChooser(2, machine.clock), 10_000)
    assert counts.count(1) < 30


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_setting_is_given_back(three_threads):
    chosen = Threads()
    chosen.may_change = True
    seen = []
    for _ in range(4):
        with chosen.for_step(1):
            seen.append(torch.get_num_threads())
        assert torch.get_num_threads() == 3
    assert seen[:3] == [1, 1, 1]
    with pytest.raises(ZeroDivisionError), chosen.for_step(2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def test_nothing_is_changed_unless_it_may(three_threads):
    for kept in (Threads().for_step(1), Threads().for_large()):
        with kept:
            assert torch.get_num_threads() == 3


def test_a_busy_machine_computes_large_things_with_one_thread_until_it_is_surely_idle(
    three_threads, monkeypatch
):
    looks = iter([True, False, False, False, False])
    monkeypatch.setattr(threads, "_is_busy", lambda n_threads: next(looks))
    monkeypatch.setattr(threads, "_SECONDS_BETWEEN_PROBES", -1.0)
    chosen = Threads()
    chosen.may_change = True
    seen = []
    for _ in range(5):
        with chosen.for_large():
            seen.append(torch.get_num_threads())
    assert seen == [1, 1, 1, 3, 3]


def test_threads_are_left_to_what_goes_on_beside(three_threads, monkeypatch):
    monkeypatch.setattr(threads, "_is_busy", lambda n_threads: False)
    chosen = Threads()
    assert not chosen.can_spare_one
    chosen.may_change = True
    assert chosen.can_spare_one
    seen = []
    for n_beside in (0, 1, 5):
        with chosen.for_large(n_beside):
            seen.append(torch.get_num_threads())
    assert seen == [3, 2, 1]
