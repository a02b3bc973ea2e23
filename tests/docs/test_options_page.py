"""The page of options says what the program has."""

from __future__ import annotations

from pathlib import Path

from tympan.apps.cli.options_page import options_page

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_the_page_is_what_the_program_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == options_page(), (
        "make it anew: python -m tympan.apps.cli.options_page > docs/options.md"
    )
