"""`scalrec token`: keys and tokens by which devices prove whose they are."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cloud_service.keys import load_keys
from scalrec.options import SetOption, settings_from
from shared.errors import ConfigError
from shared.tokens import DEFAULT_DEVICE, TOKEN_TTL_S, TokenIssuer, new_key

app = typer.Typer(help="Keys and tokens by which devices prove whose they are.")


@app.command()
def keygen(
    key_id: Annotated[
        str | None, typer.Option("--id", help="Name of the key (default: a random one).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New file for it, that nobody else can read.")
    ] = None,
) -> None:
    """Make a new key, for cloud.auth_keys_file; print it, or write it to a file of its own.

    To rotate: put it on the first line of the file and restart the cloud and whatever issues
    tokens; take the old line out when the last token it signed has expired.
    """
    if out is not None:
        _write_new(out, new_key(key_id) + "\n")
        return
    typer.echo(new_key(key_id))
    if others_can_read_output():
        typer.echo(
            "warning: others on this machine can read the file that the key was just written to: "
            "`chmod 600` it, or let `scalrec token keygen --out FILE` make it",
            err=True,
        )


def _write_new(path: Path, text: str) -> None:
    """A file that was not there, for its owner alone; raises ConfigError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"--out {path} is there already, and a key is never written over another: name a new "
            "file (to rotate, put its line before the old one)"
        ) from error
    except OSError as error:
        raise ConfigError(f"--out {path} cannot be written: {error.strerror}") from error


def others_can_read_output() -> bool:
    """Whether standard output goes into a file that its group or everybody may read."""
    with contextlib.suppress(OSError, ValueError):
        mode = os.fstat(sys.stdout.fileno()).st_mode
        return stat.S_ISREG(mode) and bool(mode & (stat.S_IRGRP | stat.S_IROTH))
    return False


@app.command()
def issue(
    user: Annotated[str, typer.Argument(help="The user the token is good for.")],
    ttl: Annotated[
        float | None, typer.Option(min=1, help="Seconds it lives (default: a day).")
    ] = None,
    device: Annotated[str, typer.Option(help="Which of the user's devices.")] = DEFAULT_DEVICE,
    keys: Annotated[
        Path | None, typer.Option(help="Key file (default: cloud.auth_keys or auth_keys_file).")
    ] = None,
    assignments: SetOption = None,
) -> None:
    """Print a token, signed with the first key: Authorization: Bearer TOKEN."""
    cloud = settings_from(assignments=assignments).cloud
    if keys is not None:
        cloud = cloud.model_copy(update={"auth_keys_file": keys, "auth_keys": None})
    ring = load_keys(cloud)
    if ring is None:
        raise ConfigError(
            "no key to sign with: run `scalrec token keygen --out auth.keys`, then give --keys "
            "auth.keys or set cloud.auth_keys_file"
        )
    issuer = TokenIssuer(ring, TOKEN_TTL_S if ttl is None else ttl, time.time)
    typer.echo(issuer.issue(user, device))
