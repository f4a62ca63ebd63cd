"""Many clients of a server at a time, some of them slow and some of them unfaithful, and whether any answer is lost.

    load.py http://127.0.0.1:8000/v1 --model NAME [--model NAME …] [--clients 64] [--requests 4] [--max-tokens 24]
            [--picture FILE] [--api-key KEY]

Each client asks so many times, in turn as a whole answer, as a stream, as a stream that it reads slowly, and as one that it
leaves in the middle. Whoever stays must get a whole answer. Prints a table, and ends with status 1 if something was lost.
"""

import argparse
import asyncio
import sys
import time
import urllib.request
from pathlib import Path

from openai import AsyncOpenAI

from client import data_url

KINDS = ("whole", "stream", "slow reader", "leaver")
WAIT_FOR_IDLE = 30


class Outcome:
    """What came of one request."""

    def __init__(self, kind):
        self.kind = kind
        self.begin = time.perf_counter()
        self.first = self.end = None
        self.tokens = 0
        self.lost = None

    def heard(self):
        self.first = self.first or time.perf_counter()


async def one(api, given, kind, number):
    """Asks once. An error is an answer lost."""
    outcome = Outcome(kind)
    text = {"type": "text", "text": f"Client {number} asks: which creature is this?"}
    picture = [{"type": "image_url", "image_url": {"url": data_url(given.picture)}}] if given.picture else []
    options = {
        "model": given.model[number % len(given.model)],
        "messages": [{"role": "user", "content": [*picture, text]}],
        "max_tokens": given.max_tokens,
        "seed": number,
    }
    try:
        if kind == "whole":
            await whole(api, options, outcome)
        else:
            await stream(api, options, outcome)
    except Exception as error:  # whatever it is, it is reported
        outcome.lost = f"{type(error).__name__}: {error}"
    outcome.end = time.perf_counter()
    return outcome


async def whole(api, options, outcome):
    answer = await api.chat.completions.create(**options)
    outcome.heard()
    outcome.tokens = answer.usage.completion_tokens
    if answer.choices[0].finish_reason not in ("stop", "length"):
        outcome.lost = f"finish_reason is {answer.choices[0].finish_reason}"


async def stream(api, options, outcome):
    reason = usage = None
    chunks = await api.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    async with chunks:
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                outcome.heard()
                outcome.tokens += 1
                if outcome.kind == "leaver" and outcome.tokens == 2:
                    return
            if outcome.kind == "slow reader":
                await asyncio.sleep(0.05)
            if chunk.choices:
                reason = reason or chunk.choices[0].finish_reason
            usage = usage or chunk.usage
    if reason not in ("stop", "length") or usage is None:
        outcome.lost = f"the stream ends with finish_reason {reason} and usage {usage}"
    else:
        outcome.tokens = usage.completion_tokens


async def all_of(given):
    key = given.api_key or "none is needed"

    # Connections of their own, as programs of their own have. Making a client takes a while, which is not measured.
    apis = [AsyncOpenAI(base_url=given.url, api_key=key, max_retries=0, timeout=600) for _ in range(given.clients)]

    async def client(number, api):
        async with api:
            rounds = range(given.requests)
            return [await one(api, given, KINDS[(number + it) % len(KINDS)], number) for it in rounds]

    begin = time.perf_counter()
    outcomes = await asyncio.gather(*(client(number, api) for number, api in enumerate(apis)))
    return [it for some in outcomes for it in some], time.perf_counter() - begin


def in_flight(given):
    """How many requests the server says it answers, and how many wait."""
    request = urllib.request.Request(given.url.removesuffix("/v1") + "/metrics")
    if given.api_key:
        request.add_header("Authorization", f"Bearer {given.api_key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        values = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return float(values["tunebook_requests_running"]), float(values["tunebook_requests_waiting"])


def wait_for_idle(given):
    """Nobody asks any more. So soon the server must have nothing to do, or it answers clients that have left."""
    end = time.monotonic() + WAIT_FOR_IDLE
    while (left := in_flight(given)) != (0, 0):
        if time.monotonic() > end:
            return left
        time.sleep(0.1)
    return None


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def report(outcomes, seconds):
    print(f"{'':12} {'asked':>6} {'lost':>5} {'first p50':>10} {'p95':>7} {'end p50':>9} {'p95':>7}   (seconds)")
    for kind in (*KINDS, "all"):
        ours = [it for it in outcomes if kind in (it.kind, "all")]
        first = [it.first - it.begin for it in ours if it.first]
        end = [it.end - it.begin for it in ours if not it.lost]
        lost = sum(1 for it in ours if it.lost)
        times = [percentile(values, share) for values in (first, end) for share in (0.5, 0.95)]
        print(f"{kind:12} {len(ours):6} {lost:5} {times[0]:10.2f} {times[1]:7.2f} {times[2]:9.2f} {times[3]:7.2f}")
    tokens = sum(it.tokens for it in outcomes)
    print(f"{tokens} tokens in {seconds:.1f} s: {tokens / seconds:.0f} tokens/s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--api-key")
    given = parser.parse_args()
    outcomes, seconds = asyncio.run(all_of(given))
    report(outcomes, seconds)
    lost = [f"{it.kind}: {it.lost}" for it in outcomes if it.lost]
    for reason in sorted(set(lost)):
        print(f"LOST {lost.count(reason)} × {reason}")
    if left := wait_for_idle(given):
        print(f"STILL BUSY after {WAIT_FOR_IDLE} s: {left[0]:.0f} running, {left[1]:.0f} waiting")
    sys.exit(bool(lost or left))


if __name__ == "__main__":
    main()
