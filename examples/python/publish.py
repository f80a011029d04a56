#!/usr/bin/env python3
"""Publish a prompt to Argosy from Python and fetch the picture. No Argosy library is needed.

Needs `pip install nats-py msgpack`. A running fleet on this machine is found through
.argosy/run/fleet.json; anywhere else give --nats.

    python3 examples/python/publish.py "a lighthouse in a storm"
    python3 examples/python/publish.py "a red fox" --encoding json --tenant studio-a --max-cost-usd 0.05
    python3 examples/python/publish.py "waves" --kind video --timeout-s 600 --out films

Prints the path of each file. Exit codes: 0 completed, 1 the job ended otherwise, 2 usage,
3 nothing heard in time, 4 a file is not what was announced, 69 no broker answers.
"""

from __future__ import annotations

import argparse
import asyncio
import decimal
import hashlib
import json
import os
import sys
import time

import msgpack
import nats
import nats.errors
import nats.js.errors

CONTENT_TYPES = {"msgpack": "application/msgpack", "json": "application/json"}
ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
NOT_COMPLETED, NO_ANSWER, WRONG_FILE, NO_BROKER = 1, 3, 4, 69
# A broker answers at once or is not there. The library by itself would try for minutes.
CONNECT_WITHIN_S = 3
# How often the stream is asked in case the live event was missed (a reconnect, say).
LOOK_EVERY_S = 5


def uuid7() -> str:
    """A UUID whose first 48 bits are the time: ids sort by age. Lower-case, with hyphens."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (millis << 80) | random
    value = value & ~(0xF << 76) | (0x7 << 76)  # version 7
    value = value & ~(0x3 << 62) | (0x2 << 62)  # the RFC's variant
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def micro_usd(text: str) -> int:
    """Dollars as text to integer micro-dollars: money never goes through a float."""
    try:
        return int(decimal.Decimal(text).scaleb(6).to_integral_exact())
    except decimal.InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of dollars") from error


def runs(pid: int, started: str | None) -> bool:
    """Whether the writer of a fleet file still runs: it may have been killed, and its number be another's by now."""
    if not os.path.exists("/proc/self/stat"):
        return True  # Elsewhere than on Linux only the connection tells.
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            ticks = file.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return False
    return started is None or started.split()[0] == ticks


def fleet_url() -> str:
    """The broker of the fleet that runs in this folder or above it."""
    folder = os.getcwd()
    while True:
        path = os.path.join(folder, ".argosy", "run", "fleet.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                fleet = json.load(file)
            if runs(fleet["pid"], fleet.get("started")):
                return fleet["nats_url"]
        parent = os.path.dirname(folder)
        if parent == folder:
            return "nats://127.0.0.1:4222"
        folder = parent


def job_of(arguments: argparse.Namespace) -> dict:
    """The job, with only what is wished for: everything else has a default."""
    body = {"kind": arguments.kind, "prompt": arguments.prompt}
    for name in ("model", "width", "height", "seed"):
        if getattr(arguments, name) is not None:
            body[name] = getattr(arguments, name)
    constraints = {}
    if arguments.max_cost_usd is not None:
        constraints["max_cost_micro_usd"] = arguments.max_cost_usd
    if arguments.allow_paid:
        constraints["allow_paid"] = True
    if arguments.backend:
        constraints["backends"] = arguments.backend
    return {
        "schema_version": 1,
        "id": uuid7(),
        "time_ms": time.time_ns() // 1_000_000,
        "tenant": arguments.tenant,
        "lane": arguments.lane,
        "body": body,
        "constraints": constraints,
        "labels": {"client": "python"},
    }


def decode(message) -> dict:
    """A message of Argosy, in whichever encoding its header names."""
    content_type = (message.headers or {}).get("Content-Type", CONTENT_TYPES["msgpack"])
    if content_type == CONTENT_TYPES["json"]:
        return json.loads(message.data)
    return msgpack.unpackb(message.data)


async def end_of(job: dict, subscription, jetstream, timeout_s: float) -> dict:
    """The job's `ended` (or `refused`) fact. Other facts are told on standard error."""
    base = f"argosy.events.{job['tenant']}.{job['id']}"
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            fact = decode(await subscription.next_msg(timeout=min(left, LOOK_EVERY_S)))["fact"]
        except nats.errors.TimeoutError:
            try:
                fact = decode(await jetstream.get_last_msg("EVENTS", f"{base}.ended"))["fact"]
            except nats.js.errors.NotFoundError:
                continue
        if fact["kind"] in ("ended", "refused"):
            return fact
        print(f"{job['id']} {fact['kind']} {fact.get('backend', '')}", file=sys.stderr)


async def fetch(artifact: dict, job: dict, index: int, jetstream, folder: str) -> str:
    """Downloads a file and holds it against the announced hash."""
    store = await jetstream.object_store(artifact["bucket"])
    content = (await store.get(artifact["key"])).data
    found = hashlib.sha256(content).hexdigest()
    if found != artifact["sha256"]:
        print(f"{artifact['key']}: sha256 is {found}, announced was {artifact['sha256']}", file=sys.stderr)
        sys.exit(WRONG_FILE)
    os.makedirs(folder, exist_ok=True)
    ending = ENDINGS.get(artifact["media_type"], "bin")
    path = os.path.join(folder, f"{job['id']}-{index}.{ending}")
    with open(path, "wb") as file:
        file.write(content)
    return path


async def connected(url: str) -> nats.NATS:
    """A connection to the broker; without one the program ends, and says what to do."""
    errors = []

    async def note(error: Exception) -> None:
        errors.append(error)

    try:
        connecting = nats.connect(
            url, name="argosy python example", connect_timeout=CONNECT_WITHIN_S, error_cb=note
        )
        return await asyncio.wait_for(connecting, CONNECT_WITHIN_S)
    except (asyncio.TimeoutError, OSError, nats.errors.Error) as error:
        why = errors[-1] if errors else str(error) or f"silent for {CONNECT_WITHIN_S} s"
        cure = "start a fleet with `make up`, or name its broker with --nats"
        print(f"no broker answers at {url.rsplit('@', 1)[-1]}: {why}; {cure}", file=sys.stderr)
        sys.exit(NO_BROKER)


async def main(arguments: argparse.Namespace) -> int:
    job = job_of(arguments)
    payload = msgpack.packb(job) if arguments.encoding == "msgpack" else json.dumps(job).encode()
    client = await connected(arguments.nats or fleet_url())
    try:
        jetstream = client.jetstream()
        # Before publishing, so that nothing is missed however quick the fleet is.
        subscription = await client.subscribe(f"argosy.events.{job['tenant']}.{job['id']}.>")
        headers = {"Nats-Msg-Id": job["id"], "Content-Type": CONTENT_TYPES[arguments.encoding]}
        # Returns when the broker has stored the job: from here on it is never lost.
        await jetstream.publish(f"argosy.jobs.{job['lane']}.{job['tenant']}", payload, headers=headers)
        print(f"{job['id']} accepted", file=sys.stderr)
        try:
            fact = await end_of(job, subscription, jetstream, arguments.timeout_s)
        except TimeoutError:
            print(f"{job['id']}: no end within {arguments.timeout_s} s; it is still on its way", file=sys.stderr)
            return NO_ANSWER
        failure = fact.get("failure")
        if failure:
            print(f"{job['id']}: {failure['code']}: {failure['message']}", file=sys.stderr)
        for index, artifact in enumerate(fact.get("artifacts", [])):
            print(await fetch(artifact, job, index, jetstream, arguments.out))
        return 0 if fact.get("state") == "completed" else NOT_COMPLETED
    finally:
        await client.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompt")
    parser.add_argument("--nats", help="the broker; the fleet of this folder when absent")
    parser.add_argument("--encoding", choices=sorted(CONTENT_TYPES), default="msgpack")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--lane", choices=["interactive", "standard", "batch"], default="standard")
    parser.add_argument("--kind", choices=["image", "video"], default="image")
    parser.add_argument("--model")
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--max-cost-usd", type=micro_usd, help="the most that may be spent; 0 is free only")
    parser.add_argument("--allow-paid", action="store_true", help="allow paid backends, as far as the tenant's word permits")
    parser.add_argument("--backend", action="append", help="only this backend; repeatable")
    parser.add_argument("--timeout-s", type=float, default=300)
    parser.add_argument("--out", default=".", help="where files go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
