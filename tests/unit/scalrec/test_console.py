"""What a person sees is what is in force."""

from __future__ import annotations

from rich.console import Console

from scalrec.console import print_settings
from scalrec.settings import load_settings


def test_settings_with_brackets_are_printed_as_they_are() -> None:
    settings = load_settings(log={"path": "x.csv", "columns": "user=u[/],item=[bold]i,time=t"})
    console = Console(record=True, width=400)
    print_settings(console, settings)
    assert "columns=user=u[/],item=[bold]i,time=t" in console.export_text()
