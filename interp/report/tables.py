"""A table for every use: tidy CSV and Parquet for programs, LaTeX (booktabs) and Markdown for papers and pages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from interp.features.shards import whole_or_absent

FORMATS = (".csv", ".parquet", ".tex", ".md")


def write_table(table: pd.DataFrame, path: Path, caption: str) -> None:
    """Write a table four times beside each other.

    Args:
        table: tidy, a column for each variable; a named index becomes columns.
        path: without suffix; .csv, .parquet, .tex and .md are added.
        caption: for .tex and .md; says n.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_table(pd.DataFrame({"arm": ["a_b"], "auc": [0.5]}), folder / "cells", "AUC, n = 20.")
    >>> print((folder / "cells.md").read_text())
    | arm | auc |
    |---|---:|
    | a_b | 0.500 |
    <BLANKLINE>
    AUC, n = 20.
    <BLANKLINE>
    """
    flat = table.reset_index() if table.index.names != [None] else table
    texts = {".tex": _latex(flat, caption, path.name), ".md": _markdown(flat, caption)}
    for suffix in FORMATS:
        with whole_or_absent(path.with_name(path.name + suffix)) as temporary:
            if suffix == ".csv":
                flat.to_csv(temporary, index=False)
            elif suffix == ".parquet":
                flat.to_parquet(temporary, index=False)
            else:
                temporary.write_text(texts[suffix], encoding="utf-8", errors="replace")


def _latex(table: pd.DataFrame, caption: str, label: str) -> str:
    shown = table.rename(columns=lambda name: str(name).replace("_", " ")).map(_cell)
    styled = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    position = "".join("r" if pd.api.types.is_numeric_dtype(table[name]) else "l" for name in table)
    escaped = caption.replace("\\", "").replace("%", r"\%").replace("_", r"\_").replace("&", r"\&")
    return styled.to_latex(
        hrules=True, caption=escaped, label=f"tab:{label}", column_format=position, position_float="centering"
    )


def _markdown(table: pd.DataFrame, caption: str) -> str:
    rule = ["---:" if pd.api.types.is_numeric_dtype(table[name]) else "---" for name in table]
    lines = [list(map(str, table.columns)), *table.map(_cell).to_numpy().tolist()]
    rows = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "|".join(rule) + "|", *rows[1:], "", caption, ""])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value)
