// Tokens: read from both of the server's forms, placed in a text, and compared; and parts of a pad while it is edited.

import assert from "node:assert/strict";
import { test } from "node:test";
import { markAt, parting, place, readTokens, surprise } from "../../page/tokens.js";
import { shiftMarks } from "../../page/marks.js";
import { probability } from "../../page/format.js";

const token = (t, n = new TextEncoder().encode(t).length) => ({ t, n, p: -1, top: [] });
const cut = (tokens, text, start) => place(tokens, text, start).map(({ from, to }) => text.slice(from, to));

test("both forms are read", () => {
  const top = [{ token: " a", logprob: -0.1, bytes: [32, 97] }, { token: " b", logprob: -2.5, bytes: [32, 98] }];
  const chat = readTokens({ content: [{ ...top[0], top_logprobs: top }, { token: "\ufffd", logprob: null, bytes: [240, 159], top_logprobs: [] }] });
  assert.deepEqual(chat[0], { t: " a", n: 2, p: -0.1, top: [[" a", -0.1], [" b", -2.5]] });
  assert.deepEqual(chat[1], { t: "\ufffd", n: 2, p: -100, top: [] });
  const text = readTokens({ tokens: [" a"], token_logprobs: [-0.1], top_logprobs: [{ " b": -2.5, " a": -0.1 }], text_offset: [3] });
  assert.deepEqual(text, [chat[0]]);
  const bytes = readTokens({ tokens: ["a", "bytes:\\xf0\\x9f", "bytes:\\x98\\x80", "bytes:"], token_logprobs: [0, 0, 0, 0] });
  assert.deepEqual(bytes.map(({ n }) => n), [1, 2, 2, 6]);
  assert.deepEqual(readTokens(null), []);
});

test("tokens stand where their bytes do", () => {
  assert.deepEqual(cut([token("Tom"), token(" wört"), token("er")], "Tom wörter"), ["Tom", " wört", "er"]);
  // A character made of two tokens belongs to the first.
  assert.deepEqual(cut([token("a"), token("?", 2), token("?", 2), token("b")], "a😀b"), ["a", "😀", "b"]);
  assert.deepEqual(cut([token(" Hello"), token(" you")], "Hello you"), ["Hello", " you"]);
  assert.deepEqual(cut([token("c"), token("d")], "abcd", 2), ["c", "d"]);
  // A stop string was cut off the text.
  assert.deepEqual(cut([token("ab"), token("STOP")], "abS"), ["ab", "S"]);
  assert.deepEqual(cut([], "ab"), []);
});

test("texts part at a character, and at its token", () => {
  assert.equal(parting("the garden", "the house", false), 4);
  assert.equal(parting("the", "the house", false), null);
  assert.equal(parting("the", "the house", true), 3);
  assert.equal(parting("same", "same", true), null);
  assert.equal(parting("a😀", "a😁", false), 1);
  const placed = place([token("the"), token(" gar"), token("den")], "the garden");
  assert.deepEqual(markAt(5, "the garden", placed), { from: 3, to: 7, index: 1 });
  assert.deepEqual(markAt(4, "the garden is", []), { from: 4, to: 10, index: -1 });
  assert.equal(markAt(10, "the garden", placed), null);
});

test("probabilities in words", () => {
  assert.deepEqual([0, -0.3, -1, -2, -9].map(surprise), [0, 1, 2, 3, 4]);
  assert.deepEqual([0, -1e-5, -0.6931, -100].map(probability), ["100.0 %", "99.9 %", "50.0 %", "4e−42 %"]);
});

test("marks follow an edited text", () => {
  const before = "The cat sat on the mat.";
  const mark = { from: 4, to: 11, tokens: [token("x")], model: "m" };
  const after = (text) => shiftMarks([mark], before, text).map(({ from, to }) => text.slice(from, to));
  assert.deepEqual(after("Oh. The cat sat on the mat."), ["cat sat"]);
  assert.deepEqual(after("The cat sat on the rug."), ["cat sat"]);
  assert.deepEqual(after("The cat has sat on the mat."), ["cat ", "sat"]);
  assert.deepEqual(after("The cat"), ["cat"]);
  assert.deepEqual(after("The on the mat."), []);
  assert.deepEqual(after(""), []);
  let state = 99;
  const random = (n) => (state = (state * 48271) % 2147483647) % n;
  for (let i = 0; i < 5000; i++) {
    const text = before.slice(0, random(24)) + "xyz".slice(0, random(4)) + before.slice(random(24));
    const marks = shiftMarks([mark, { ...mark, from: 11, to: 20 }], before, text);
    let end = 0;
    for (const { from, to } of marks) {
      assert.ok(end <= from && from < to && to <= text.length, JSON.stringify([text, marks]));
      end = to;
    }
  }
});
