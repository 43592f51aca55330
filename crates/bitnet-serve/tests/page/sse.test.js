// Server-sent events, cut anywhere.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, events } from "../../page/sse.js";

const STREAM = "\uFEFF: reading\n\ndata: {\"a\":1}\n\r\nevent: x\ndata:b\ndata: c\n\ndata\r\n\r\n: \r\rid: 7\rdata:  d😀\r\rdata: unended\n";
const EVENTS = ['{"a":1}', "b\nc", "", " d😀"];

test("events are the same however the text is cut", () => {
  const text = STREAM.slice(1);
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser();
    const found = [];
    for (let i = 0; i < text.length; i += size) found.push(...parser.push(text.slice(i, i + size)));
    assert.deepEqual(found, EVENTS, `pieces of ${size}`);
  }
});

async function read(bytes, size) {
  const body = new ReadableStream({
    start(controller) {
      for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
      controller.close();
    },
  });
  const found = [];
  for await (const event of events(body)) found.push(event);
  return found;
}

test("characters may be cut too", async () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (const size of [1, 2, 3, 7, bytes.length]) assert.deepEqual(await read(bytes, size), EVENTS, `pieces of ${size}`);
});

test("who stops listening cancels the stream", async () => {
  let cancelled = false;
  const body = new ReadableStream({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: x\n\n")),
    cancel: () => (cancelled = true),
  });
  for await (const event of events(body)) {
    assert.equal(event, "x");
    break;
  }
  assert.ok(cancelled);
});
