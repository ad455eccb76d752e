"""What an engine tells of itself is read bounded and exactly; what it does not tell is unknown."""

import pytest

from inference.engine_client import MAX_BODY
from inference.nodes import Load, Status
from inference.probe import EngineProbe
from inference.telemetry import load, totals
from tests.inference import openai_server as said

CHAT, METRICS = "/v1/chat/completions", "/metrics"


def metrics(prompts: float, first: float, queued: float, between: float, tokens: float) -> str:
    labels = '{engine="0",model_name="smollm2"}'
    return "\n".join(
        f"vllm:{name}{labels} {value}"
        for name, value in {
            "num_requests_running": 2.0,
            "num_requests_waiting": 1.0,
            "kv_cache_usage_perc": 0.25,
            "prompt_tokens_total": prompts,
            "time_to_first_token_seconds_sum": first,
            "request_queue_time_seconds_sum": queued,
            "inter_token_latency_seconds_sum": between,
            "inter_token_latency_seconds_count": tokens,
        }.items()
    )


def test_rates_are_of_what_was_done_since_the_last_look_and_prefill_leaves_the_queue_out():
    before = totals(metrics(1_000, 10, 5, 4, 40))
    now = totals(metrics(3_000, 20, 11, 6, 80))
    assert load(now, before, Load()) == Load(2, 1, 0.25, prefill_rate=500.0, decode_rate=20.0)


def test_without_work_since_then_the_known_rates_stand():
    now = totals(metrics(1_000, 10, 5, 4, 40))
    known = Load(prefill_rate=123.0, decode_rate=4.0)
    assert load(now, now, known) == Load(2, 1, 0.25, 123.0, 4.0)


def test_an_engine_that_started_again_counts_from_zero():
    before, now = totals(metrics(9_000, 90, 10, 40, 400)), totals(metrics(100, 2, 1, 1, 10))
    assert load(now, before, Load()).prefill_rate == 100.0


def test_a_rate_of_which_a_part_is_not_told_is_unknown():
    told = metrics(1_000, 10, 5, 4, 40)
    without = "\n".join(line for line in told.splitlines() if "queue_time" not in line)
    assert load(totals(without), {}, Load()).prefill_rate is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "x", ""])
def test_a_value_that_is_no_count_makes_the_whole_metric_unknown(value):
    told = f'vllm:num_requests_running{{engine="0"}} 3\nvllm:num_requests_running{{engine="1"}} {value}'
    running = load(totals(told), {}, Load()).running
    assert running == (3 if value == "" else None), "a line without a value is no sample"


async def test_metrics_that_vanish_make_a_node_degraded_and_its_load_unknown(client, server, make_node):
    probe, node = EngineProbe(client, seconds=2), make_node(endpoint=server.endpoint)
    server.answers |= {CHAT: said.completion("."), METRICS: said.metrics(metrics(1_000, 10, 5, 4, 40))}
    first = await probe(node)
    assert (first.status, first.load.running, first.load.prefill_rate) == (Status.READY, 2, 200.0)
    server.answers[METRICS] = said.response(b"", "404 Not Found")
    gone = await probe(node)
    assert (gone.status, gone.load) == (Status.DEGRADED, Load())
    assert "no longer tells" in gone.why


async def test_metrics_of_a_hundred_megabytes_are_not_read_to_their_end(client, server, make_node):
    line = b"vllm:num_requests_running 1\n"
    server.answers |= {CHAT: said.completion("."), METRICS: said.response(line * (100 * MAX_BODY // 28))}
    state = await EngineProbe(client, seconds=20)(make_node(endpoint=server.endpoint))
    assert (state.status, state.load) == (Status.READY, Load())


async def test_counters_of_a_node_that_was_declared_anew_are_another_engines(client, server, make_node):
    probe = EngineProbe(client, seconds=2)
    server.answers |= {CHAT: said.completion("."), METRICS: said.metrics(metrics(1_000, 10, 5, 4, 40))}
    await probe(make_node(endpoint=server.endpoint))
    server.answers[METRICS] = said.metrics(metrics(3_000, 20, 10, 6, 80))
    state = await probe(make_node(endpoint=server.endpoint, region="eu-west"))
    assert state.load.prefill_rate == 300.0
