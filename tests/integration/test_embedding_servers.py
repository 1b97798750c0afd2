"""One client for embedding servers of many makes, and for texts that they stumble over."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from cloud_service.embedding import server_link
from cloud_service.embedding.base import TextsRefused
from cloud_service.embedding.batching import BatchingEmbedder
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.embedding.vllm import VllmEmbedder
from shared.errors import ConfigError, EmbedderMismatch, EmbedderUnavailable
from tests.support import server_shapes
from tests.support.server_shapes import DIM, MAKES, MODEL, Shape, ShapedServer

TEXTS = [f"text {n} about drama and film noir" for n in range(14)]
LONG = " ".join(f"word{n}" for n in range(200))


def embedder_of(server: ShapedServer, **changes: object) -> VllmEmbedder:
    arguments = {"model": MODEL, "pooling": "MEAN", "batch_size": 8, "timeout_s": 5.0}
    return VllmEmbedder(server.url, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("make", MAKES)
async def test_every_make_gives_the_same_vectors(make: Callable[[], Shape], suffix: str) -> None:
    async with ShapedServer(make()).up() as server:
        server.url += suffix
        embedder = embedder_of(server)
        await embedder.ready()
        vectors = await embedder.embed(TEXTS)
        assert embedder.identity.dim == DIM
        # Token vectors lie around their mean, which is the text's up to rounding.
        np.testing.assert_allclose(vectors, await HashingEmbedder(DIM).embed(TEXTS), atol=1e-5)
        await embedder.aclose()


@pytest.mark.parametrize("make", [server_shapes.litellm, server_shapes.voyage])
async def test_answers_without_a_number_are_asked_for_one_by_one(make: Callable[[], Shape]) -> None:
    async with ShapedServer(make()).up() as server:
        embedder = embedder_of(server)
        await embedder.embed(TEXTS)
        assert set(server.sizes[-len(TEXTS) + 1 :]) == {1}
        assert any("number" in note for note in embedder.notes)
        await embedder.aclose()


async def test_batches_are_as_large_as_the_server_takes_and_it_is_asked_once() -> None:
    async with ShapedServer(server_shapes.tei()).up() as server:
        embedder = embedder_of(server, concurrency=1)
        await embedder.embed(TEXTS)
        assert max(server.sizes) == 4
        refused = len(server.refused)
        await embedder.embed(TEXTS)
        assert len(server.refused) == refused, "the limit is remembered"
        await embedder.aclose()


async def test_a_long_text_or_a_bad_one_does_not_make_batches_smaller() -> None:
    async with ShapedServer(server_shapes.tei()).up() as server:
        embedder = embedder_of(server, concurrency=1)
        server.poison = {TEXTS[1]: "500"}
        with pytest.raises(TextsRefused):
            await embedder.embed([LONG, *TEXTS])
        server.sizes.clear()
        await embedder.embed([f"{text} again" for text in TEXTS])
        assert max(server.sizes) == 4
        await embedder.aclose()


async def test_a_server_that_stays_busy_is_unavailable() -> None:
    shape = server_shapes.busy_tei()
    shape.most_at_once = 1
    async with ShapedServer(shape).up() as server:
        embedder = embedder_of(server)
        await embedder.ready()
        shape.most_at_once = 0
        with pytest.raises(EmbedderUnavailable, match="status 429: Model is overloaded"):
            await embedder.embed(["drama"])
        await embedder.aclose()


@pytest.mark.parametrize("make", [server_shapes.vllm, server_shapes.tei, server_shapes.llama_cpp])
async def test_a_text_longer_than_the_server_takes_is_cut(make: Callable[[], Shape]) -> None:
    async with ShapedServer(make()).up() as server:
        embedder = embedder_of(server, max_tokens=64)
        vectors = await embedder.embed([*TEXTS, LONG])
        if make is server_shapes.vllm:  # the model's own tokenizer cuts
            assert embedder.notes == ()
            expected = " ".join(LONG.split()[:64])
        else:
            (note,) = embedder.notes
            assert note.startswith("1 text was longer than the embedding server takes")
            expected = LONG[: len(LONG) // 4]
        own = await HashingEmbedder(DIM).embed([*TEXTS, expected])
        assert (vectors * own).sum(axis=1).min() > 0.999
        await embedder.aclose()


@pytest.mark.parametrize("fate", ["nan", "null", "inf", "zero", "500", "400", "cut"])
@pytest.mark.parametrize("make", [server_shapes.vllm, server_shapes.llama_cpp, server_shapes.tei])
async def test_one_text_costs_no_other_its_vector(make: Callable[[], Shape], fate: str) -> None:
    async with ShapedServer(make()).up() as server:
        embedder = embedder_of(server)
        server.poison = {TEXTS[3]: fate, TEXTS[11]: fate}
        with pytest.raises(TextsRefused) as refusal:
            await embedder.embed(TEXTS)
        assert refusal.value.refused.keys() == {3, 11}
        reason = refusal.value.refused[3]
        if fate in ("500", "400"):
            assert reason == f"status {fate}: the engine stumbled, code 77"
        elif fate == "cut":
            assert reason.startswith("connection lost")
        else:
            assert "zero vector" in reason if fate == "zero" else "not finite" in reason
        own = await HashingEmbedder(DIM).embed(TEXTS)
        own[[3, 11]] = 0
        np.testing.assert_allclose(refusal.value.vectors, own, atol=1e-6)
        await embedder.embed(TEXTS[:3])  # and the server is trusted as before
        await embedder.aclose()


@pytest.mark.parametrize("fate", ["nan", "500"])
async def test_a_poisoned_text_fails_for_its_own_caller_alone(fate: str) -> None:
    async with ShapedServer(server_shapes.vllm()).up() as server:
        embedder = BatchingEmbedder(embedder_of(server))
        await embedder.embed(["warm"])
        server.poison = {TEXTS[2]: fate}
        found = await asyncio.gather(
            *(embedder.embed([text]) for text in TEXTS), return_exceptions=True
        )
        assert [type(one) for one in found if isinstance(one, Exception)] == [TextsRefused]
        assert isinstance(found[2], TextsRefused)
        await embedder.aclose()


async def test_a_server_that_fails_at_everything_is_not_blamed_on_texts() -> None:
    async with ShapedServer(server_shapes.vllm()).up() as server:
        embedder = embedder_of(server)
        await embedder.ready()
        before = len(server.refused)
        server.shape.formats = frozenset()
        server.shape.refusal = lambda kind, words: (500, {"error": "EngineDeadError"})
        with pytest.raises(EmbedderUnavailable, match="EngineDeadError"):
            await embedder.embed(TEXTS[:8])
        assert len(server.refused) - before == 2, "one more request tells"
        await embedder.aclose()


@pytest.mark.parametrize(
    ("echo", "kept"),
    [
        (lambda t: f"maximum context length is 512 tokens, got {t!r}", "maximum context length"),
        (lambda t: f"cannot embed: {t.upper()}", "cannot"),
        (lambda t: f"{t[5:40]} is too long", "is too long"),
        (lambda t: "bad input " + t.encode("unicode_escape").decode(), "bad input"),
        (lambda t: "bad " + "".join(f"\\u{ord(c):04x}" for c in t), "bad"),
        (lambda t: "bad " + t.replace(" ", "_"), "bad"),
        (lambda t: "bad " + t.replace(" ", "%20"), "bad"),
        (lambda t: "bad " + " ".join(t), "bad"),
        (lambda t: {"tokens": [101, 2054, 1037, 5095], "text": t}, ""),
        (lambda t: [{"msg": "String too long", "input": t}], "String too long"),
    ],
)
async def test_what_a_server_repeats_of_its_input_is_not_told(
    echo: Callable[[str], object], kept: str
) -> None:
    private = "Visits the Marigold clinic on Tuesdays; likes Żubrówka, jazz and Zanzibar"
    async with ShapedServer(server_shapes.vllm()).up() as server:
        embedder = embedder_of(server)
        await embedder.ready()
        server.poison = {private: "500"}
        server._refusal = (  # type: ignore[method-assign]
            lambda body, texts: (
                (500, {"error": {"message": echo(private)}})
                if any(text.startswith("Visits") for text in texts)
                else None
            )
        )
        with pytest.raises(TextsRefused) as refusal:
            await embedder.embed([private, "drama"])
        said = str(refusal.value)
        assert kept in said
        assert len(said) < 400
        words = {"visits", "marigold", "clinic", "tuesday", "jazz", "zanzibar", "wka", "2054"}
        assert not [word for word in words if word in said.lower()]
        await embedder.aclose()


async def test_a_server_that_repeats_earlier_texts_is_not_told_either() -> None:
    async with ShapedServer(server_shapes.vllm()).up() as server:
        embedder = embedder_of(server)
        await embedder.embed(["Marigold clinic on Tuesdays"])
        server.shape.formats = frozenset()
        server.shape.refusal = lambda *_: (500, {"error": "after Marigold clinic: out of memory"})
        with pytest.raises(EmbedderUnavailable) as refusal:
            await embedder.embed(["drama"])
        assert "out of memory" in str(refusal.value)
        assert "arigold" not in str(refusal.value)
        await embedder.aclose()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"data": "none"}, "unknown form"),
        ({"data": [{"index": 0, "embedding": {"float": [1.0]}}]}, "unknown form"),
        ({"data": [{"index": 0, "embedding": "Marigold"}]}, "unknown form"),
        ({"data": [{"index": 0, "embedding": ["Marigold"]}]}, "unknown form"),
        ({"data": []}, "0 vectors to 1"),
        ({"error": {"message": "no such model"}}, "no such model"),
        ("text", "unknown form"),
        (None, "unknown form"),
    ],
)
async def test_answers_without_a_meaning_are_one_clear_error(answer: object, words: str) -> None:
    shape = Shape(around=lambda rows: answer)
    async with ShapedServer(shape).up() as server:
        embedder = embedder_of(server)
        with pytest.raises((EmbedderMismatch, EmbedderUnavailable), match=words) as refusal:
            await embedder.embed(["drama"])
        assert "Marigold" not in str(refusal.value)
        await embedder.aclose()


async def test_names_that_differ_are_listed_shortly() -> None:
    shape = Shape(models={"data": [{"id": f"model-{n}" + "x" * 500} for n in range(100)]})
    async with ShapedServer(shape).up() as server:
        embedder = embedder_of(server)
        with pytest.raises(EmbedderMismatch, match=f"not {MODEL}; start it with") as refusal:
            await embedder.ready()
        assert len(str(refusal.value)) < 800
        await embedder.aclose()


@pytest.mark.parametrize(("status", "words"), [(401, "embedder.api_key"), (307, "embedder.url")])
async def test_a_refused_key_and_another_address_name_their_setting(
    status: int, words: str
) -> None:
    shape = Shape(formats=frozenset(), refusal=lambda *_: (status, {"error": "no"}))
    async with ShapedServer(shape).up() as server:
        embedder = embedder_of(server)
        with pytest.raises(EmbedderMismatch, match=words):
            await embedder.ready()
        await embedder.aclose()


MODELS = b'{"data": [{"id": "%s"}]}' % MODEL.encode()


def row(vector: bytes) -> bytes:
    return b'{"data": [{"index": 0, "embedding": %s}]}' % vector


def head(status: int = 200, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode()


def whole(body: bytes, status: int = 200, **headers: str) -> bytes:
    return head(status, Content_Length=str(len(body)), **headers) + body


@asynccontextmanager
async def raw_server(
    embeddings: bytes, models: bytes = MODELS, *, then: bytes = b"", every_s: float = 0.0
) -> AsyncIterator[str]:
    """Answers in bytes; after ``embeddings`` it says ``then`` again and again, without an end."""
    running: set[asyncio.Task[None] | None] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        try:
            while said := await reader.readuntil(b"\r\n\r\n"):
                length = said.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length or 0))
                asked = b"/embeddings" in said
                writer.write(embeddings if asked else whole(models))
                await writer.drain()
                while asked and then:
                    writer.write(then)
                    await writer.drain()
                    await asyncio.sleep(every_s)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in running if task), return_exceptions=True)


def plain(url: str) -> VllmEmbedder:
    return VllmEmbedder(url, model=MODEL, pooling="MEAN", timeout_s=1.0)


# Packed once, 64 MB of blanks are 62 KB; packed twice, some hundred bytes.
_BOMB = gzip.compress(gzip.compress(bytes(64 << 20)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (whole(row(b"[1%s, 2]" % (b"0" * 400))), "unknown form"),
        (whole(_BOMB, Content_Encoding="gzip, gzip"), "is packed"),
        (whole(b"xx", Content_Encoding="gzip"), "is packed"),
        (whole(_BOMB, 400, Content_Encoding="gzip, gzip"), "is packed"),
    ],
    ids=["a number that no float holds", "a bomb", "not even packed", "a bomb of an error"],
)
async def test_bytes_without_a_meaning_are_one_clear_error(answer: bytes, words: str) -> None:
    async with raw_server(answer) as url:
        embedder = plain(url)
        with pytest.raises(EmbedderMismatch, match=words):
            await embedder.ready()
        await embedder.aclose()


@pytest.mark.parametrize("charset", ["hex", "rot13", "undefined", "idna", "punycode", "utf-16"])
async def test_a_refusal_is_read_whatever_charset_it_names(charset: str) -> None:
    refusal = whole(
        b'{"error": "out of memory \xff"}', 400, Content_Type=f"text/a; charset={charset}"
    )
    async with raw_server(refusal) as url:
        embedder = plain(url)
        with pytest.raises(EmbedderMismatch, match="out of memory"):
            await embedder.ready()
        await embedder.aclose()


async def test_a_name_that_no_encoding_holds_is_sent_back_as_it_came() -> None:
    models = b'{"data": [{"id": "\\ud800/%s"}]}' % MODEL.encode()
    async with raw_server(whole(row(b"[3, 4]")), models) as url:
        embedder = plain(url)
        assert np.allclose(await embedder.embed(["drama"]), [[0.6, 0.8]])
        await embedder.aclose()


async def test_an_answer_that_never_ends_is_waited_for_no_longer_than_said() -> None:
    """Each byte comes in time, the last one never."""
    begun = head(Transfer_Encoding="chunked")
    async with raw_server(begun, then=b"1\r\n \r\n", every_s=0.2) as url:
        embedder = plain(url)
        async with asyncio.timeout(5.0):
            with pytest.raises(EmbedderUnavailable, match="no whole answer in 1 s"):
                await embedder.ready()
        await embedder.aclose()


async def test_an_answer_without_bound_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_link, "_ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(server_link, "_TEXT_BYTES", 1 << 20)
    begun, chunk = head(Transfer_Encoding="chunked"), b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with raw_server(begun, then=chunk) as url:
        embedder = plain(url)
        with pytest.raises(EmbedderMismatch, match="larger than 2097152 bytes"):
            await embedder.ready()
        await embedder.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://host:-1", "host:1", "ftp://x"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"embedder\.url is not a URL"):
        plain(url)
