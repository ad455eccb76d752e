"""What vLLM tells on `/metrics`, in Prometheus' text format: its load, and the rates that follow from it.

What is absent is unknown, never zero. Names are compared whole: `vllm:num_requests_waiting` also begins
`vllm:num_requests_waiting_by_reason`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from inference.nodes import Load

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USE = "vllm:kv_cache_usage_perc"
_PROMPT_TOKENS = "vllm:prompt_tokens_total"
_FIRST_TOKEN = "vllm:time_to_first_token_seconds_sum"  # noqa: S105  a token of text
_QUEUED = "vllm:request_queue_time_seconds_sum"
_BETWEEN_TOKENS = "vllm:inter_token_latency_seconds_sum"
_TOKENS_BETWEEN = "vllm:inter_token_latency_seconds_count"
_READ = frozenset(
    {_RUNNING, _WAITING, _KV_USE, _PROMPT_TOKENS, _FIRST_TOKEN, _QUEUED, _BETWEEN_TOKENS, _TOKENS_BETWEEN}
)
_SAMPLE = re.compile(
    r"""(?P<name>[A-Za-z_:][\w:]*)
        (?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?
        \s+(?P<value>\S+)(?:\s+-?\d+)?\s*""",
    re.VERBOSE | re.ASCII,
)

Totals = Mapping[str, float]
"""The sum of each metric that is read, over its labels; absent ones are not there."""


def totals(metrics: str) -> Totals:
    """A metric with any value that is no finite count is left out whole."""
    values: dict[str, list[float]] = {}
    for line in metrics.splitlines():
        if not line.startswith("vllm:"):
            continue
        if (sample := _SAMPLE.fullmatch(line)) and sample["name"] in _READ:
            values.setdefault(sample["name"], []).append(_number(sample["value"]))
    return {name: sum(v) for name, v in values.items() if all(math.isfinite(x) and x >= 0 for x in v)}


@dataclass(frozen=True, slots=True)
class Done:
    """How much an engine has computed since it started; None is unknown."""

    prompt_tokens: float | None = None
    tokens: float | None = None

    def beyond(self, before: Done) -> bool:
        """Whether it is known to have gone on."""
        return any(
            now is not None and past is not None and now != past
            for now, past in (
                (self.prompt_tokens, before.prompt_tokens),
                (self.tokens, before.tokens),
            )
        )


def done(metrics: str) -> Done:
    found = totals(metrics)
    return Done(found.get(_PROMPT_TOKENS), found.get(_TOKENS_BETWEEN))


def load(now: Totals, before: Totals, known: Load) -> Load:
    """The load now. Rates are of what was done since `before`; where nothing was, they are `known`'s.

    A request's prefill takes its time to the first token less its time in the queue.
    """
    prompts, first, queued, between, tokens = (
        _since(now, before, name)
        for name in (_PROMPT_TOKENS, _FIRST_TOKEN, _QUEUED, _BETWEEN_TOKENS, _TOKENS_BETWEEN)
    )
    prefill = None if first is None or queued is None else first - queued
    use = now.get(_KV_USE)
    return Load(
        running=_count(now.get(_RUNNING)),
        waiting=_count(now.get(_WAITING)),
        kv_use=None if use is None else min(use, 1.0),
        prefill_rate=_rate(prompts, prefill) or known.prefill_rate,
        decode_rate=_rate(tokens, between) or known.decode_rate,
    )


def _since(now: Totals, before: Totals, name: str) -> float | None:
    """How far a counter went; from zero where the engine has started again."""
    if name not in now:
        return None
    past = before.get(name, 0.0)
    return now[name] - past if now[name] >= past else now[name]


def _rate(amount: float | None, seconds: float | None) -> float | None:
    return amount / seconds if amount and seconds is not None and seconds > 0 else None


def _count(value: float | None) -> int | None:
    return None if value is None else round(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
