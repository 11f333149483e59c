"""Texts from records in tables: what they hold is shown, and does nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.tables.wording import KEPT, LACKING


def to_csv(table: pd.DataFrame) -> str:
    """A table with every column, unrounded, as CSV that no spreadsheet computes."""
    return without_formulas(table).to_csv(index=False)


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text that a spreadsheet would take for a formula."""
    texts = table.select_dtypes(["object", "string"])
    return table.assign(**{str(name): column.map(_harmless) for name, column in texts.items()})


def _harmless(value: Any) -> Any:
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and value != "-" else value
    )


MARKDOWN = str.maketrans({letter: f"\\{letter}" for letter in "\\|`"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def in_markdown(text: str) -> str:
    """Text from records as Markdown shows it: no table ends, no HTML, no link and no picture begins in it."""
    return " ".join(text.translate(MARKDOWN).replace("](", "]\\(").split())


TEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {KEPT: r"\dag{}", LACKING: r"\ddag{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
)


def in_latex(text: str) -> str:
    """Text from records as every LaTeX shows it: no command and no comment begins in it, and letters beyond Latin-1, which pdflatex does
    not know, become question marks.
    """
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return "".join(letter if ord(letter) < 128 or _latin(letter) else "?" for letter in shown.translate(TEX))


def _latin(letter: str) -> bool:
    return letter.isalpha() and ord(letter) < 256
