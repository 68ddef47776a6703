"""What a notebook shows of a run: a figure, its caption as text, a table; never a bare object."""

import base64
import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.figures import Figure, as_png

_DPI = 90
_TABLE = "overflow-x:auto;max-height:26em;display:block"


@dataclass(frozen=True)
class Shown:
    """Shows itself in Jupyter, and in words anywhere else."""

    title: str
    note: str = ""
    """In words: what to read from it, or why there is nothing."""
    figure: Figure | None = None
    caption: str = ""
    table: pd.DataFrame | None = None

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(self.title)}</h4>"]
        if self.note:
            parts += [f"<p>{html.escape(line)}</p>" for line in self.note.splitlines()]
        if self.figure is not None:
            parts.append(self._figure())
        if self.table is not None:
            shown = self.table.to_html(
                index=False, border=0, escape=True, na_rep="", justify="left"
            )
            parts.append(f'<div style="{_TABLE}">{shown}</div>')
        return "\n".join(parts)

    def _figure(self) -> str:
        picture = base64.b64encode(self.png()).decode()
        said = html.escape(f"{self.title}. {self.caption}", quote=True)
        return (
            f'<figure><img alt="{said}" style="max-width:100%" '
            f'src="data:image/png;base64,{picture}"/>'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )

    def png(self) -> bytes:
        """The figure; empty without one."""
        return b"" if self.figure is None else as_png(self.figure, _DPI)

    def __repr__(self) -> str:
        """For a terminal."""
        lines = [self.title, self.note, self.caption]
        if self.table is not None:
            lines.append(self.table.to_string(index=False, na_rep=""))
        return "\n".join(filter(None, lines))


def rounded(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Numbers with so many significant digits; all else as it is."""

    def shorten(value: Any) -> Any:
        return float(f"{value:.{digits}g}") if isinstance(value, float) else value

    return frame.map(shorten)
