// Export and import: what goes out comes in, and nothing else does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { exportText, importText, newConversation, titleOf } from "../../page/exchange.js";

const answer = {
  model: "m", text: "Hello **you**", tokens: [{ t: "Hello", n: 5, p: -0.1, top: [["Hello", -0.1]] }], start: 0,
  finish: "stop", error: null, stats: { first: 10, time: 90, prompt: 8, completion: 3, rate: 25 },
};
const chat = {
  ...newConversation("chat", ["m", "n"], { temperature: 0, system: "Be brief.", stop: ["\n"] }),
  title: "A name",
  turns: [{ role: "user", content: "Hi" }, { role: "assistant", answers: [answer, { ...answer, model: "n" }] }],
};
const pad = { ...newConversation("pad", ["m"]), text: "Once upon", marks: [{ from: 4, to: 9, tokens: [], model: "m" }] };

test("an export comes in again, under new ids", () => {
  const [first, second] = importText(exportText([chat, pad]));
  assert.notEqual(first.id, chat.id);
  assert.deepEqual({ ...first, id: "" }, { ...chat, id: "" });
  assert.deepEqual({ ...second, id: "" }, { ...pad, id: "" });
});

test("messages of the API are a conversation", () => {
  const messages = [{ role: "system", content: "S" }, { role: "user", content: "U" }, { role: "assistant", content: "A" }];
  const [found] = importText(JSON.stringify({ model: "m", messages }));
  assert.equal(found.settings.system, "S");
  assert.deepEqual(found.turns.map(({ content, answers }) => content ?? answers[0].text), ["U", "A"]);
});

test("what is wrong is named", () => {
  const wrong = (change, message) => {
    const copy = structuredClone(chat);
    change(copy);
    assert.throws(() => importText(exportText([copy])), { message });
  };
  wrong((c) => (c.turns[1].answers[0].text = 7), /conversations\[0\]\.turns\[1\]\.answers\[0\]\.text is not a text/);
  wrong((c) => (c.turns[0].role = "tool"), /turns\[0\]\.role/);
  wrong((c) => (c.turns = {}), /turns is not a list/);
  wrong((c) => (c.turns[1].answers = []), /one answer or two/);
  wrong((c) => (c.title = "x".repeat(501)), /title/);
  wrong((c) => (c.turns[1].answers[0].tokens[0].n = -1), /tokens\[0\]\.n/);
  assert.throws(() => importText("{"), /not JSON/);
  assert.throws(() => importText("[]"), /holds no conversations/);
  assert.throws(() => importText("null"), /holds no conversations/);
  assert.throws(() => importText(exportText([]).replace('"version": 1', '"version": 2')), /version 2/);
  const outside = { ...pad, marks: [{ from: 4, to: 99, tokens: [] }] };
  assert.throws(() => importText(exportText([outside])), /marks\[0\] is not a part of the text/);
});

test("what is not known stays outside", () => {
  const hostile = JSON.parse(exportText([chat]));
  Object.assign(hostile.conversations[0], { id: "chosen", innerHTML: "<img>", toString: "x", onclick: "alert(1)" });
  Object.assign(hostile.conversations[0].settings, { temperature: "<b>", constructor: 1, extra: true });
  hostile.conversations[0].turns[1].answers[0].error = { message: "<img src=x onerror=alert(1)>" };
  hostile.conversations[0].turns[1].answers[0].stats.rate = "<b>";
  const text = JSON.stringify(hostile).replace('"title"', '"__proto__":{"polluted":true},"title"');
  const [found] = importText(text);
  assert.notEqual(found.id, "chosen");
  assert.deepEqual(Object.keys(found).sort(), Object.keys(chat).sort());
  assert.deepEqual(found.settings, { system: "Be brief.", stop: ["\n"] });
  assert.equal(found.turns[1].answers[0].error, null);
  assert.equal(found.turns[1].answers[0].stats.rate, undefined);
  assert.equal({}.polluted, undefined);
});

test("a conversation is called by what it begins with", () => {
  assert.equal(titleOf(chat), "A name");
  assert.equal(titleOf(pad), "Once upon");
  assert.equal(titleOf(newConversation("chat", [])), "New chat");
  assert.equal(titleOf({ kind: "pad", title: "", text: "a ".repeat(100) }).length, 58);
});
