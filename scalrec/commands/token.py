"""`scalrec token`: keys and tokens by which devices prove whose they are."""

from __future__ import annotations

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
) -> None:
    """Print a new key, for cloud.auth_keys_file.

    To rotate: put it on the first line of the file and restart the cloud and whatever issues
    tokens; take the old line out when the last token it signed has expired.
    """
    typer.echo(new_key(key_id))


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
            "no key to sign with: run `scalrec token keygen > auth.keys`, then give --keys "
            "auth.keys or set cloud.auth_keys_file"
        )
    issuer = TokenIssuer(ring, TOKEN_TTL_S if ttl is None else ttl, time.time)
    typer.echo(issuer.issue(user, device))
