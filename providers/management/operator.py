"""What the operators' commands have in common: verbs, tables, and plain errors.

A command prints one thing on stdout. What goes wrong is one line on stderr and a
non-zero exit.
"""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError


class OperatorCommand(BaseCommand):
    """A command made of verbs; each subparser names its method as ``run``."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        self.add_verbs(verbs)

    def add_verbs(self, verbs: Any) -> None:
        """Add one subparser for each verb."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        run = options["run"]
        try:
            run(options)
        except ValidationError as error:
            raise CommandError(plain(error)) from error
        except DatabaseError as error:
            raise CommandError(unusable_database(error)) from error

    def print(self, text: str) -> None:
        """Write one thing on stdout."""
        self.stdout.write(text)

    def print_rows(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, style: str
    ) -> None:
        """Write rows as an aligned table, a JSON list, or one JSON object a line."""
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        if style == "table":
            self.print(table(columns, [list(row.values()) for row in named]))
        elif style == "json":
            self.print(json.dumps(named, indent=2, default=str))
        else:
            for row in named:
                self.print(json.dumps(row, default=str))


def add_format(parser: ArgumentParser) -> None:
    """Let the user choose how rows are printed."""
    parser.add_argument(
        "--format",
        choices=("table", "json", "jsonl"),
        default="table",
        help="how rows are printed (default: %(default)s)",
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an aligned table with upper-case headings."""
    heading = [column.replace("_", " ").upper() for column in columns]
    lines = [heading, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return "".join(char if char.isprintable() else " " for char in str(value))


def plain(error: ValidationError) -> str:
    """Return a validation error as one line that names its fields."""
    if hasattr(error, "error_dict"):
        return "; ".join(
            " ".join(messages)
            if field == "__all__"
            else f"{field}: {' '.join(messages)}"
            for field, messages in error.message_dict.items()
        )
    return " ".join(error.messages)


def unusable_database(error: DatabaseError) -> str:
    """Return what an operator can do about a database that does not answer."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return (
        f"the database cannot be used ({first or type(error).__name__}); is it up, "
        "and were migrations applied with: manage.py migrate?"
    )


def operator_name() -> str:
    """Return who runs the command, as audit events name them."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        return "command line"
