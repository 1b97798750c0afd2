"""Redis's configuration holds whatever a folder is called; a real redis-server reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from launch.redis_server import RedisServer, quoted

NAMES = (
    'a "quoted" log',
    "back\\slash\\",
    "line\nbreak",
    "# not a comment",
    "'single' and $HOME %s",
    "naïve 本 \U0001f4d6",
    "tab\tand bell\a",
    '"',
)


@pytest.mark.parametrize("name", NAMES)
async def test_redis_keeps_its_data_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "redis"
    async with RedisServer(folder, persistent=True) as server:
        client = Redis.from_url(server.url.get_secret_value(), decode_responses=True)
        try:
            assert await client.set("kept", "1")
            told = (await client.config_get("dir"))["dir"]
        finally:
            await client.aclose()
    assert told == str(folder)
    assert list(folder.glob("appendonly*"))  # a file or, since Redis 7, a folder


def test_bytes_that_are_no_text_have_their_numbers() -> None:
    assert quoted(b'a b#"\\\n\xff') == '"a b#\\x22\\x5c\\x0a\\xff"'
