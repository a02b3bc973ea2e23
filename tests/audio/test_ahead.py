"""Items made by a thread of their own."""

import gc
import threading

import pytest

from tympan.audio.ahead import made_ahead

PATIENCE_S = 10.0


def names_of_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tympan-ahead")]


class TestMadeAhead:
    def test_all_items_come_in_order(self):
        assert list(made_ahead(iter(range(100)), 3)) == list(range(100))
        assert list(made_ahead(iter(()), 3)) == []

    def test_as_many_as_said_are_made_before_they_are_asked_for(self):
        made, enough = [], threading.Event()

        def items():
            for number in range(100):
                made.append(number)
                if number == 4:
                    enough.set()
                yield number

        coming = made_ahead(items(), 4)
        assert made == []
        assert next(coming) == 0
        assert enough.wait(PATIENCE_S)
        assert made == [0, 1, 2, 3, 4]
        coming.close()

    def test_a_fault_is_raised_where_the_item_would_have_come(self):
        def items():
            yield 1
            yield 2
            raise ZeroDivisionError("the third")

        coming = made_ahead(items(), 5)
        assert [next(coming), next(coming)] == [1, 2]
        with pytest.raises(ZeroDivisionError, match="the third"):
            next(coming)

    @pytest.mark.parametrize("end", ["close", "drop", "throw"])
    def test_nothing_runs_any_more_once_it_is_left(self, end):
        made = []
        coming = made_ahead((made.append(number) or number for number in range(1000)), 5)
        next(coming)
        if end == "close":
            coming.close()
        elif end == "throw":
            with pytest.raises(KeyboardInterrupt):
                coming.throw(KeyboardInterrupt())
        else:
            del coming
            gc.collect()
        n_made = len(made)
        assert n_made <= 7
        assert names_of_threads() == []
