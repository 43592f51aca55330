"""Clients of a server of OpenAI's API at once: tokens a second in all, times to the first token and between tokens.

    python serve.py PORT CLIENTS [TOKENS]    each asks for TOKENS (64) after a prompt of some 300 tokens, no two alike

Tokens are those that the server counts. `bitnet serve m=MODEL --draft-tokens 0`, or llama-server with `--alias m -np 32`.
"""

import json
import sys
import threading
import time
import urllib.request

port, clients = int(sys.argv[1]), int(sys.argv[2])
tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 64
answers = []


def ask(client):
    items = " ".join(f"item {client * 1000 + number}" for number in range(60))
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": items + " Tell a long story about them."}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    begun, first, written = time.monotonic(), None, 0
    with urllib.request.urlopen(request, timeout=900) as response:
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if any(choice["delta"].get("content") for choice in event["choices"]):
                first = first or time.monotonic()
            written = (event.get("usage") or {}).get("completion_tokens", written)
    end = time.monotonic()
    answers.append((first - begun, (end - first) / max(written - 1, 1), written))


begun = time.monotonic()
threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
took = time.monotonic() - begun
if len(answers) < clients:
    sys.exit(f"{clients - len(answers)} of {clients} clients got no answer")
share = lambda column, part: sorted(answer[column] for answer in answers)[min(clients - 1, int(part * clients))]
written = sum(answer[2] for answer in answers)
print(
    f"{clients} clients: {written} tokens, {written / took:.1f} a second; first token p50 {share(0, 0.5):.2f} s, "
    f"p95 {share(0, 0.95):.2f} s; between tokens p50 {1000 * share(1, 0.5):.0f} ms"
)
