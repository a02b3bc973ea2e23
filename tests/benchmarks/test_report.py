"""`benchmarks/report.py`: measurements into tables, and tables into sections."""

from __future__ import annotations

import pytest

PAGE = """\
# Results

What this is.

## First?

old

| a |
| --- |

## Second?

### A part

kept
"""


@pytest.fixture
def report(program):
    return program("report")


def test_a_table_sets_names_left_and_numbers_right(report):
    assert report.table(["system", "s"], [["ours", "1.0"], ["theirs", "2.0"]]) == (
        "| system | s |\n| --- | --: |\n| ours | 1.0 |\n| theirs | 2.0 |"
    )


def test_a_row_of_another_width_is_refused(report):
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        report.table(["system", "s"], [["ours"]])


@pytest.mark.parametrize(
    ("seconds", "cells"),
    [
        ([3.0, 1.0, 2.0], ["2.00", "1.00–3.00"]),
        ([9.0, 11.0, 250.4, 10.0], ["10.5", "9.00–250"]),
        ([0.126], ["0.13", "0.13–0.13"]),
    ],
)
def test_the_median_and_the_range(report, seconds, cells):
    assert report.median_and_range(seconds) == cells


def test_a_section_is_replaced_and_the_others_stay(report):
    page = report.replace_section(PAGE, "First?", "new\n\n| b |\n")
    assert page == PAGE.replace("old\n\n| a |\n| --- |\n", "new\n\n| b |\n")


def test_the_last_section_is_replaced_with_its_parts(report):
    page = report.replace_section(PAGE, "Second?", "new")
    assert page == PAGE[: PAGE.index("### A part")] + "new\n"


def test_a_new_section_comes_last(report):
    assert report.replace_section(PAGE, "Third?", "new\n\n") == f"{PAGE}\n## Third?\n\nnew\n"


def test_a_title_that_begins_like_another_is_another(report):
    page = report.replace_section(PAGE, "First? (avx2 only)", "new")
    assert page == f"{PAGE}\n## First? (avx2 only)\n\nnew\n"


def test_a_section_written_twice_is_as_written_once(report):
    once = report.replace_section(PAGE, "First?", "new")
    assert report.replace_section(once, "First?", "new") == once


def test_a_command_has_no_path_of_the_machine(report):
    program = report.REPOSITORY / "benchmarks" / "speed.py"
    audio = report.REPOSITORY.parent / "a b.wav"
    assert report.command([str(program), "--audio", str(audio)]) == (
        "python benchmarks/speed.py --audio '../a b.wav'"
    )


def test_what_a_system_chose_is_said_where_it_says_so(report):
    settled = {"ours": {"dtype": "float32", "beam_size": None}, "theirs": {}}
    assert list(report.chosen(settled)) == ["ours chose dtype float32."]
