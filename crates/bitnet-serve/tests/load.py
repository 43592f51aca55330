#!/usr/bin/env python3
"""Honest clients of a server alone, and beside hostile ones, in turns.

    bitnet serve MODEL --port 8080 --quiet
    python3 crates/bitnet-serve/tests/load.py 127.0.0.1:8080 --clients 8 --tokens 64 --seconds 60 --turns 2 --hostile

Every honest client asks for a greedy streamed completion again and again; each answer must be the one that it had when
nobody else was there. Hostile are 1,000 connections that hold half a request (and come again when they are closed), 100
that ask for an answer and read a byte a second, 100 that leave in the middle of an answer twice a minute, and 20 that post
garbage ten times a second. With `--pid` the server's resident memory is told.
"""

import argparse
import asyncio
import json
import random
import statistics
import time

PROMPTS = [f"The {word} went into the wood one morning and found" for word in "fox owl hen cat dog cow bee elk".split()]


def request(body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def completion(client, tokens, stream=True):
    return {"prompt": PROMPTS[client % len(PROMPTS)], "max_tokens": tokens, "temperature": 0, "stream": stream}


async def connect(args):
    return await asyncio.open_connection(args.host, args.port, limit=1 << 20)


async def honest(args, client, until, told, expected):
    """Streams answers until the time is over; tells times of tokens."""
    while time.monotonic() < until:
        begin = time.monotonic()
        reader, writer = await connect(args)
        writer.write(request(completion(client, args.tokens)))
        text, times = "", []
        async for line in reader:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise SystemExit(f"an honest client was refused: {chunk}")
            piece = chunk["choices"][0]["text"]
            if piece:
                times.append(time.monotonic())
                text += piece
        writer.close()
        if expected.setdefault(client % len(PROMPTS), text) != text:
            told["wrong"] += 1
        told["answers"] += 1
        told["tokens"] += args.tokens
        told["first"].append(times[0] - begin)
        told["next"] += [b - a for a, b in zip(times, times[1:])]


async def half(args):
    while True:
        try:
            reader, writer = await connect(args)
            writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: local")
            await reader.read(1)
            writer.close()
        except OSError:
            pass
        await asyncio.sleep(1)


async def slow(args, number):
    while True:
        try:
            reader, writer = await connect(args)
            page = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(page if number % 2 else request(completion(number, 2)))
            while await reader.read(1):
                await asyncio.sleep(1)
            writer.close()
        except OSError:
            pass
        await asyncio.sleep(1)


async def leaver(args, number):
    while True:
        await asyncio.sleep(random.uniform(0, 600))
        try:
            reader, writer = await connect(args)
            writer.write(request(completion(number, 256)))
            await reader.read(600)
            writer.transport.abort()
        except OSError:
            pass


async def garbage(args):
    while True:
        body = random.choice([random.randbytes(200), b"{" * 500, b'{"prompt": "\\ud800"}', b'{"prompt": 1, "x": 2}', b""])
        data = random.choice([request(body), random.randbytes(300), b"GET / HTTP/1.1\r\n\r\n"])
        try:
            reader, writer = await connect(args)
            writer.write(data + b"\r\n\r\n")
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
        except (OSError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(0.1)


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS"))


async def phase(args, expected):
    told = {"answers": 0, "wrong": 0, "tokens": 0, "first": [], "next": []}
    begin = time.monotonic()
    clients = [honest(args, client, begin + args.seconds, told, expected) for client in range(args.clients)]
    await asyncio.gather(*clients)
    told["rate"] = told["tokens"] / (time.monotonic() - begin)
    return told


def tell(args, name, told):
    first, after = sorted(told["first"]), sorted(told["next"])
    at = lambda values, share: values[min(len(values) - 1, int(share * len(values)))]
    text = f"{name:8} {told['answers']:5} answers {told['wrong']:2} wrong {told['rate']:7.1f} tokens/s"
    text += f"  first p50 {at(first, 0.5):.3f} p95 {at(first, 0.95):.3f} s  next p50 {at(after, 0.5) * 1e3:.1f} ms"
    print(text + (f"  {memory(args.pid)} MiB" if args.pid else ""), flush=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    for name, default in [("clients", 8), ("tokens", 64), ("seconds", 60), ("turns", 2), ("pid", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hostile", action="store_true")
    args = parser.parse_args()
    args.host, args.port = args.address.split(":")
    expected, rates = {}, {"alone": [], "beside": []}
    one = argparse.Namespace(**{**vars(args), "seconds": 0.001})
    for client in range(len(PROMPTS)):
        await honest(one, client, time.monotonic() + 0.001, {"answers": 0, "wrong": 0, "tokens": 0, "first": [], "next": []}, expected)
    for _ in range(args.turns):
        alone = await phase(args, expected)
        rates["alone"].append(alone["rate"])
        tell(args, "alone", alone)
        if not args.hostile:
            continue
        others = [half(args) for _ in range(1000)] + [slow(args, n) for n in range(100)]
        others += [leaver(args, n) for n in range(100)] + [garbage(args) for _ in range(20)]
        tasks = [asyncio.create_task(other) for other in others]
        await asyncio.sleep(5)
        beside = await phase(args, expected)
        rates["beside"].append(beside["rate"])
        tell(args, "beside", beside)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(2)
    if args.hostile:
        ratio = statistics.mean(rates["beside"]) / statistics.mean(rates["alone"])
        print(f"throughput beside hostile clients: {ratio:.3f} of that alone")


asyncio.run(main())
