"""All reference pages by the name they have on the site."""

from __future__ import annotations

from scalrec.reference.commands_page import commands_page
from scalrec.reference.records_page import records_page
from scalrec.reference.settings_page import settings_page


def reference_pages() -> dict[str, str]:
    """Markdown by file name, of all that need nothing but the program.

    The page of the HTTP API needs an OpenAPI document: see ``api_page``.
    """
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "records.md": records_page(),
    }
