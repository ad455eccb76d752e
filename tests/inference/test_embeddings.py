"""Texts of like meaning are near each other; nothing is fetched, and the event loop stays free."""

import asyncio
import math
import socket
import threading
from collections.abc import Iterator

import pytest

from inference import embeddings
from inference.embeddings import DIMENSIONS, MAX_WORD_PIECES, Embedder, EmbeddingModelError


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    made = Embedder()
    yield made
    made.close()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_a_question_is_nearest_to_the_text_that_answers_it(embedder):
    question, answer, other = await embedder.embed(
        [
            "How long do we keep health records?",
            "Medical documents are retained for ten years.",
            "The quarterly sales meeting takes place in Lisbon.",
        ]
    )
    assert cosine(question, answer) > cosine(question, other) + 0.2


async def test_each_vector_has_the_stated_size_and_length_one(embedder):
    vectors = await embedder.embed(["a", "b c", "", "word " * 1000])
    assert [len(v) for v in vectors] == [DIMENSIONS] * 4
    assert all(math.isclose(math.hypot(*v), 1, abs_tol=1e-5) for v in vectors)
    assert all(type(x) is float for x in vectors[0])


async def test_a_text_has_the_same_vector_alone_and_among_others(embedder):
    texts = ["a policy", "words that go on " * 30, *map(str, range(60))]
    together = await embedder.embed(texts)
    for text, vector in list(zip(texts, together, strict=True))[:3]:
        [alone] = await embedder.embed([text])
        assert cosine(alone, vector) == pytest.approx(1, abs=1e-4)


async def test_no_text_has_no_vector(embedder):
    assert await embedder.embed([]) == []
    assert await embedder.word_pieces([]) == []


async def test_what_goes_beyond_the_word_pieces_is_not_in_the_vector_and_the_count_tells(embedder):
    fits, cut = "word " * (MAX_WORD_PIECES - 2), "word " * (MAX_WORD_PIECES - 1)
    assert await embedder.word_pieces([fits, cut]) == [MAX_WORD_PIECES, MAX_WORD_PIECES + 1]
    [a, b] = await embedder.embed([cut, cut + "and an entirely different end"])
    assert cosine(a, b) == pytest.approx(1, abs=1e-6)


async def test_nothing_is_fetched(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    embedder = Embedder()
    assert len(await embedder.embed(["offline"])) == 1
    embedder.close()


async def test_the_event_loop_goes_on_meanwhile_and_one_thread_does_the_work(embedder, monkeypatch):
    may_go_on, threads = threading.Event(), []

    def slow(texts):
        threads.append(threading.current_thread())
        assert may_go_on.wait(10)
        return [[0.0]]

    monkeypatch.setattr(embedder, "_embed", slow)
    asked = asyncio.gather(embedder.embed(["a"]), embedder.embed(["b"]))
    await asyncio.sleep(0)
    may_go_on.set()  # reached only because embedding does not hold the loop
    await asked
    assert len(set(threads)) == 1
    assert threads[0] is not threading.main_thread()


async def test_missing_files_are_named(monkeypatch):
    monkeypatch.setattr(embeddings, "PACKAGE", "no-such-package")
    embedder = Embedder()
    with pytest.raises(EmbeddingModelError, match="no-such-package"):
        await embedder.embed(["a"])
    embedder.close()
