"""Which records belong together: what names a section and a method in it, and what must be the same in it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmark.ground.errors import BadInput

COMPARABLE = ["dataset", "protocol", "kind"]
SECTION = [*COMPARABLE, "test_set"]
METHOD = [*COMPARABLE, "labels", "variant"]


def check_comparable(cells: pd.DataFrame) -> None:
    """Refuse records that must not be averaged or compared.

    Raises:
        BadInput: naming what differs and the hashes.
    """
    if cells.empty:
        raise BadInput("the store holds no finished or failed cell, so there is nothing to report; expected records of `run`")
    for what, hashes, same in [
        ("data", "data_hash", ["dataset"]),
        ("rules", "protocol_hash", ["protocol"]),
        ("labelled cases", "draw_hash", ["dataset", "labels", "draw"]),
    ]:
        versions = cells.drop_duplicates([*same, hashes])
        differing = versions[versions.duplicated(same, keep=False)]
        if not differing.empty:
            found = differing[(differing[same] == differing[same].iloc[0]).all(axis=1)]
            values = ", ".join(sorted(found[hashes]))
            raise BadInput(
                f"records of {_place(found, same)} were made with different {what} ({hashes} {values}) and"
                " cannot be compared; keep them in separate stores, or delete the outdated cell folders"
            )
    run = [*METHOD, "draw", "seed"]
    repeated = cells[cells.duplicated(run, keep=False)]
    if not repeated.empty:
        found = repeated[(repeated[run] == repeated[run].iloc[0]).all(axis=1)]
        raise BadInput(
            f"cells {', '.join(sorted(found['cell']))} are all records of {_place(found, run)};"
            " expected one, so delete the outdated cell folders"
        )


def _place(cells: pd.DataFrame, columns: list[str]) -> str:
    return ", ".join(f"{column} {cells[column].iloc[0]}" for column in columns)


def titled(cells: pd.DataFrame) -> pd.Series:
    """Each cell's protocol as titles call it: with its rules where the name does not say them. Old records have the name alone."""
    return cells["protocol_title"].fillna(cells["protocol"]) if "protocol_title" in cells else cells["protocol"]


def folds_of(cells: pd.DataFrame) -> dict[str, float]:
    """How many folds each dataset that is cross-validated is cut into."""
    known = cells.reindex(columns=["dataset", "folds"]).dropna().drop_duplicates("dataset")
    return dict(zip(known["dataset"], known["folds"].astype(float), strict=True))


def rows_of(table: pd.DataFrame) -> list[Any]:
    """A table's rows as named tuples."""
    return list(table.itertuples())
