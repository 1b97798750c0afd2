"""The keys that tokens are signed and checked with, as the settings name them."""

from __future__ import annotations

from cloud_service.settings import CloudSettings
from shared.errors import ConfigError
from shared.tokens import KeyRing

_MOST_CHARS = 1 << 20  # thousands of keys; a wrong path may lead to what has no end


def load_keys(cloud: CloudSettings) -> KeyRing | None:
    """The ring of ``cloud.auth_keys`` or ``cloud.auth_keys_file``; None when neither is set.

    Raises ConfigError if both are, or if the keys cannot be read.
    """
    if cloud.auth_keys is not None and cloud.auth_keys_file is not None:
        raise ConfigError("set cloud.auth_keys or cloud.auth_keys_file, not both")
    if cloud.auth_keys is not None:
        return KeyRing.parse(cloud.auth_keys.get_secret_value(), source="cloud.auth_keys")
    path = cloud.auth_keys_file
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cloud.auth_keys_file {path} cannot be read: {error}") from error
    if len(text) > _MOST_CHARS:
        raise ConfigError(f"cloud.auth_keys_file {path} is larger than any file of keys")
    return KeyRing.parse(text, source=str(path))
