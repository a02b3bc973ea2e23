"""The flags of every command that writes captions: a profile, and single limits that override it."""

from __future__ import annotations

import argparse
from dataclasses import replace

from tympan.apps.cli.flags import add_field_flags, given_fields
from tympan.apps.cli.parser import Parser
from tympan.writers.captions import PROFILES, CaptionOptions, profile


def add_caption_flags(parser: Parser) -> None:
    """The flags that `caption_options` reads."""
    group = parser.add_argument_group("Captions")
    group.add_argument(
        "--captions", metavar="PROFILE", choices=tuple(PROFILES),
        help=f"cut captions to be read, within the limits of {', '.join(PROFILES)}; the options below change"
        " single limits (default: none)",
    )  # fmt: skip
    add_field_flags(parser, CaptionOptions)


def caption_options(given: argparse.Namespace, language: str | None) -> CaptionOptions | None:
    """How captions are to be cut in `language`, or None where no flag of `add_caption_flags` was given.

    Raises OptionError for limits that contradict each other.
    """
    fields = given_fields(given, CaptionOptions)
    if given.captions is None and not fields:
        return None
    options = CaptionOptions() if given.captions is None else profile(given.captions, language)
    return replace(options, **fields)
