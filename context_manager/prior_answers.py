"""Answers that were given: what comes back of one in a prompt is handled as it was.

Kept in the graph, so that a restart forgets none and each process knows those of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from graph.answer_handling import keep_answers, kept_answers, last_answers
from graph.database import Database
from graph.handling import UNRESTRICTED, Handling, meet_all
from graph.reads import Asker

_REMEMBERED = 10_000


@dataclass(slots=True)
class PriorAnswers:
    """By what they said, each as `said_in` tells it.

    Each asker has their own, so that nobody finds out what was answered to another.
    """

    database: Database
    default: Handling
    """Of what is sent: an answer that is handled no more strictly need not be known again."""
    _known: OrderedDict[str, Handling] = field(default_factory=OrderedDict)
    """The last of them."""

    async def load(self) -> None:
        """The last of those that were given before this process began."""
        self._put(await last_answers(self.database, _REMEMBERED))

    async def remember(self, asker: Asker, said: Iterable[str], handling: Handling) -> None:
        """Before the answer has left as a whole."""
        if self.default.meet(handling) == self.default:
            return
        digests = [_digest(asker, one) for one in said if one.strip()]
        if digests:
            await keep_answers(self.database, digests, handling, datetime.now(UTC))
            self._put(dict.fromkeys(digests, handling))

    async def handling(self, asker: Asker, said: Iterable[str], turns: Iterable[str] = ()) -> Handling:
        """Of all that was answered before, whoever is said to have written it.

        What is sent as an earlier turn (`turns`) is looked up in the graph too.
        """
        asked = {_digest(asker, one) for one in turns if one.strip()}
        found = await kept_answers(self.database, asked) if asked else {}
        known = (
            self._known.get(digest, UNRESTRICTED) for digest in asked | {_digest(asker, one) for one in said}
        )
        return meet_all([*known, *found.values()])

    def _put(self, handlings: Mapping[str, Handling]) -> None:
        for digest, handling in handlings.items():
            self._known[digest] = handling.meet(self._known.get(digest, UNRESTRICTED))
            self._known.move_to_end(digest)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def said_in(message: Mapping[str, Any]) -> list[str]:
    """What a message of a chat says, in a form in which it is known again: its text, and each call of a tool.

    What is no message says nothing.
    """
    said = [text_in(message.get("content"))]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, (list, tuple)) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            said.append(f"{call.get('id')} {function.get('name')} {_same(function.get('arguments'))}")
    return said


def text_in(content: object) -> str:
    """The text of a message's content, which may be in parts."""
    if isinstance(content, (list, tuple)):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def gathered(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The message that the events of a stream make: its text, and its calls of tools."""
    text: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        match event.get("choices"):
            case [{"delta": dict(delta)}, *_]:
                text.append(text_in(delta.get("content")))
                parts = delta.get("tool_calls")
                for part in parts if isinstance(parts, list) else ():
                    match part:
                        case {"index": int(index), "function": dict(function)}:
                            call = calls.setdefault(index, {"id": part.get("id"), "function": {}})
                            _add(call["function"], function)
    return {"content": "".join(text), "tool_calls": [calls[i] for i in sorted(calls)]}


def _add(function: dict[str, str], part: Mapping[str, Any]) -> None:
    """The name comes once, the arguments piece by piece."""
    for name in ("name", "arguments"):
        function[name] = function.get(name, "") + text_in(part.get(name))


def _same(arguments: object) -> str:
    """Clients write the arguments anew, with other spaces."""
    try:
        return json.dumps(json.loads(str(arguments)), sort_keys=True)
    except (ValueError, RecursionError):
        return str(arguments)


def _digest(asker: Asker, said: str) -> str:
    return hashlib.sha256(f"{asker.account}\n{said.strip()}".encode()).hexdigest()
