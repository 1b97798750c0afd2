"""One client for embedding servers of many makes, and for texts that they stumble over."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from cloud_service.embedding.base import TextsRefused
from cloud_service.embedding.batching import BatchingEmbedder
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.embedding.vllm import VllmEmbedder
from shared.errors import EmbedderMismatch, EmbedderUnavailable
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
