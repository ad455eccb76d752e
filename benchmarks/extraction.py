"""Rules out of licences: what they permit, ask for and exclude, against the labels of choosealicense.com.

    python -m benchmarks.extraction                     # by their wording
    python -m benchmarks.extraction --model             # and with the packaged model on vLLM
    python -m benchmarks.extraction --model --quick     # of six licences

Reads `choosealicense` in ORGRAPH_SHARED_DATA. The labels stand in the front matter, which is stripped with
the titles. A licence is held out where the SHA-256 of its file's name, as a number, is divisible by 3: neither
the rules of `discovery.wording` nor the words below were tuned on it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import aiohttp
import yaml

from context_manager.policy_reader import request
from discovery.extraction import ExtractedRule, ModelReading, checked
from discovery.markdown import read_markdown
from discovery.passages import cut
from discovery.wording import kinds_in, rules_in, telling
from inference.engine_client import EngineClient, NodeError
from inference.model_files import ensure_model
from inference.nodes import MeshNode
from inference.vllm_server import VllmServer, VllmSettings

DATA = Path(os.environ.get("ORGRAPH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
_GROUPS = ("permissions", "conditions", "limitations")
#: Requests to the model at once, and seconds that each may take.
_TOGETHER, _DEADLINE_S = 16, 300.0
_MODELS = Path(__file__).parents[1] / ".orgraph" / "models"

#: What a rule must be, and its sentence say, to be what a label means. The labels' own descriptions
#: (`_data/rules.yml`) say what that is; `PERMISSION` also of what is permitted as long as conditions are kept.
_P, _D, _X = {"permission"}, {"duty", "permission"}, {"prohibition", "duty", "permission"}
# ruff: noqa: E501  the labels are a table
_WORDS: Mapping[str, tuple[set[str], str]] = {
    "permissions/commercial-use": (_P, r"commercial|\bsell|\buse\b|deal in|any purpose|exploit|exercise|right"),
    "permissions/modifications": (_P, r"modif|derivative|adapt|alter|prepare|change|deal in|remix"),
    "permissions/distribution": (_P, r"distribut|convey|publish|share|copy|copies|redistribut|propagat|communicat"),
    "permissions/private-use": (_P, r"\buse\b|\brun\b|reproduce|deal in|copy|exercise|any purpose|right"),
    "permissions/patent-use": (_P, r"(?<!no )(?:grant|licen[cs]e[sd]?)\b[^.]{0,240}patent|patent licen"),
    "conditions/include-copyright": (
        _D, r"(?:retain|include|reproduc|keep|contain|preserv|provid|accompan|appear|cop(?:y|ies)|condition|intact)"
        r"[\s\S]*(?:copyright|notice|licen[cs]e|attribution)|(?:copyright|notice)[\s\S]*(?:retain|included?|appear|intact)"),
    "conditions/include-copyright--source": (
        _D, r"source (?:code )?(?:distribution|form)[^.;]*(?:notice|licen[cs]e)(?![\s\S]*binary)"),
    "conditions/document-changes": (
        _D, r"(?:chang|modif|alter)\w*[\s\S]*(?:notice|stat|mark|indicat|document|describ)|"
        r"(?:notice|stat|mark|indicat|document|describ)\w*[\s\S]*(?:chang|modified|altered|modification)"),
    "conditions/disclose-source": (
        _D, r"(?:provid|mak|includ|accompan|distribut|offer|convey|available)\w*[\s\S]*(?:machine-readable|complete source|corresponding source|source code (?:of|for|form)|in source code form|copy of the source)"),
    "conditions/network-use-disclose": (
        _D, r"(?:remotely|through a (?:computer )?network|external deployment|communication to the public|online)[\s\S]*(?:source|distribut|licen)"),
    "conditions/same-license": (
        _D, r"under (?:the terms of |the conditions of )?(?:this|the same|precisely this) licen[cs]e|share ?alike|licen[cs]e the entire"),
    "conditions/same-license--file": (_D, r"(?:source code|file)[\s\S]*under (?:the terms of )?this licen[cs]e"),
    "conditions/same-license--library": (_D, r"library[\s\S]*(?:this|same) licen[cs]e|licen[cs]e[\s\S]*library"),
    "limitations/trademark-use": (_X, r"(?:not?|nothing)\b[\s\S]*(?:trade ?marks?|trade names?)|(?:trade ?marks?|trade names?)[\s\S]*\bnot\b"),
    "limitations/liability": (_X, r"liab|damages"),
    "limitations/patent-use": ({"prohibition"}, r"(?:\bno(?:t|r)?\b|other than)[^.]{0,120}patent(?! claim| infring| litig)"),
    "limitations/warranty": (_X, r"warrant|as is\b"),
}  # fmt: skip
_PATTERNS = {label: (kinds, re.compile(text, re.IGNORECASE)) for label, (kinds, text) in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class Licence:
    name: str
    labels: frozenset[str]
    passages: Sequence[str]

    @property
    def held_out(self) -> bool:
        return int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 3 == 0


def licences(data: Path) -> list[Licence]:
    """All of them, as they are read."""
    found = []
    for path in sorted((data / "choosealicense" / "_licenses").glob("*.txt")):
        _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
        known = yaml.safe_load(front)
        labels = frozenset(f"{group}/{tag}" for group in _GROUPS for tag in known[group] or ())
        for title in filter(None, (known["title"], known.get("nickname"), known["spdx-id"])):
            body = re.sub(rf"^\W*{re.escape(title)}\W*$", "", body, flags=re.IGNORECASE | re.MULTILINE)
        # Indented lines would be code: of a licence they are paragraphs.
        markdown = read_markdown("\n".join(line.strip() for line in body.splitlines()))
        found.append(Licence(path.name, labels, [one.text for one in cut(markdown.blocks)]))
    return found


def labels_of(rules: Iterable[ExtractedRule]) -> set[str]:
    """What the rules of a licence amount to."""
    return {
        label
        for rule in rules
        for label, (kinds, pattern) in _PATTERNS.items()
        if rule.kind in kinds and pattern.search(rule.quote)
    }


def figures(all_: Sequence[Licence], told: Callable[[Licence], set[str]]) -> dict[str, object]:
    """Precision and recall over all labels of some licences, and of each kind of label."""
    counts: dict[str, Counter[str]] = {group: Counter() for group in ("all", *_GROUPS)}
    for licence in all_:
        found = told(licence)
        for group, count in counts.items():
            of_group = [
                {one for one in labels if group == "all" or one.startswith(group)}
                for labels in (found, licence.labels)
            ]
            count["right"] += len(of_group[0] & of_group[1])
            count["told"] += len(of_group[0])
            count["labelled"] += len(of_group[1])
    return {"licences": len(all_)} | {
        group: {
            "precision": round(count["right"] / max(count["told"], 1), 3),
            "recall": round(count["right"] / max(count["labelled"], 1), 3),
            "labels": count["labelled"],
        }
        for group, count in counts.items()
    }


def by_wording(licence: Licence) -> set[str]:
    return labels_of(rule for text in licence.passages for rule in rules_in(text))


async def by_model(passages: Sequence[str], most: float) -> tuple[dict[str, ModelReading], dict[str, object]]:
    """By passage, what the packaged model reads, in order, in so many seconds at most; and what that took."""
    found: dict[str, ModelReading] = {}
    failed: list[str] = []
    asked = [text for text in dict.fromkeys(passages) if telling(text)]
    waiting, tokens = deque(asked), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        server = VllmServer(MeshNode("mesh_node:bench", "bench"), VllmSettings(8399), Path(folder), print)
        async with aiohttp.ClientSession() as session:
            await server.start(await ensure_model(_MODELS, print))
            client = EngineClient(session, {server.node.id: server.api_key})

            async def ask() -> None:
                while waiting and perf_counter() - begun < most:
                    told = telling(text := waiting.popleft())
                    body = request(told) | {"model": server.node.models[0]}
                    until = asyncio.get_running_loop().time() + _DEADLINE_S
                    try:
                        answer = await client.post_json(server.node, "/v1/chat/completions", body, until)
                    except NodeError as error:
                        failed.append(str(error))
                        continue
                    tokens.update(
                        {key: answer["usage"][key] for key in ("prompt_tokens", "completion_tokens")}
                    )
                    found[text] = checked(answer["choices"][0]["message"]["content"] or "", told, kinds_in)
                    if len(found) % 50 == 0:
                        print(len(found), "of", len(asked), "passages read", flush=True)

            begun = perf_counter()
            try:
                await asyncio.gather(*(ask() for _ in range(_TOGETHER)))
            finally:
                await server.stop()
    dropped = Counter(why for one in found.values() for why in one.dropped)
    return found, {
        "seconds": round(perf_counter() - begun, 1),
        "passages": len(set(passages)),
        "that tell a rule": len(asked),
        "read": len(found),
        "failed": len(failed),
        "rules kept": sum(len(one.rules) for one in found.values()),
        "dropped": dict(dropped.most_common()),
        **tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="store_true", help="also with the packaged model")
    parser.add_argument("--seconds", type=float, default=1_200, help="that the model may take to read")
    parser.add_argument("--quick", action="store_true", help="six licences, for trying it out")
    parser.add_argument("--wrong", action="store_true", help="what is wrong of those that may be tuned on")
    arguments = parser.parse_args()
    all_ = licences(DATA)[:: 8 if arguments.quick else 1]
    tuning, held = ([one for one in all_ if one.held_out is which] for which in (False, True))
    begun = perf_counter()
    result: dict[str, object] = {
        "tuned on": figures(tuning, by_wording),
        "held out": figures(held, by_wording),
        "seconds": round(perf_counter() - begun, 2),
    }
    if arguments.wrong:
        for licence in tuning:
            found = by_wording(licence)
            print(
                licence.name,
                "wrong:",
                sorted(found - licence.labels),
                "missed:",
                sorted(licence.labels - found),
            )
    if arguments.model:
        texts = [text for one in (*held, *tuning) for text in one.passages]
        read, result["model"] = asyncio.run(by_model(texts, arguments.seconds))

        def told(licence: Licence) -> set[str]:
            return labels_of(rule for text in licence.passages if text in read for rule in read[text].rules)

        def whole(licence: Licence) -> bool:
            return all(text in read for text in licence.passages if telling(text))

        for name, all_of in (("tuned on", tuning), ("held out", held)):
            some = [one for one in all_of if whole(one)]
            result[f"{name}, those that the model read"] = {
                "by the wording": figures(some, by_wording),
                "by the model": figures(some, told),
                "by both": figures(some, lambda one: by_wording(one) | told(one)),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
