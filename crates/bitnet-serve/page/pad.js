// The completion pad: a text, and what a model wrote in it, marked. With two models: a text, and its two continuations.

import { completionBody, emptyAnswer } from "./answer.js";
import { AnswerView, compare, problem, stats, verdict } from "./answer-view.js";
import { showAtCaret } from "./card.js";
import { $, fit, h, icon, toast } from "./dom.js";
import { shiftMarks } from "./marks.js";
import * as store from "./store.js";
import { place, surprise } from "./tokens.js";

const PATH = "/v1/completions";

export class Pad {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    /** Takes what has come of an answer into the text, while one is written. */
    this.take = null;
  }

  get twin() {
    return this.app.conversation.models.length === 2;
  }

  render() {
    const { app } = this;
    const { conversation } = app;
    this.area = h("textarea", { id: "pad-text", "aria-label": "Text to be continued", spellcheck: "false", placeholder: "Begin a text…" });
    this.area.value = conversation.text;
    this.behind = h("div", { class: "behind", "aria-hidden": "true" });
    this.bar = h("div", { class: "padbar" });
    this.end = h("div", { role: "alert" });
    this.answers = h("div", {});
    this.root.replaceChildren(h("div", { class: this.twin ? "pad short" : "pad" }, this.behind, this.area), this.bar, this.end, this.answers);
    this.area.addEventListener("input", () => {
      conversation.marks = shiftMarks(conversation.marks, conversation.text, this.area.value);
      conversation.text = this.area.value;
      this.paint();
      this.buttons();
      app.changed();
    });
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.preventDefault(), this.go();
    });
    this.area.addEventListener("keyup", ({ key }) => {
      if (app.odds && key.startsWith("Arrow")) showAtCaret(this.elements, this.area.selectionStart);
    });
    this.views = null;
    this.update();
    this.buttons();
  }

  /** The text or the answers have grown. */
  update() {
    const { app } = this;
    const { conversation } = app;
    this.take?.();
    this.area.readOnly = app.busy;
    if (this.area.value !== conversation.text) this.area.value = conversation.text;
    this.paint();
    const { answer } = conversation;
    this.end.replaceChildren(answer?.error && !this.twin ? problem(answer.error, app.model(answer.model), (name) => app.remedy(name), answer.text !== "") : "");
    if (!this.twin) this.shownStats?.replaceChildren(...(answer ? stats(answer, app.model(answer.model)) : []));
    this.updateAnswers();
  }

  updateAnswers() {
    const { answers } = this.app.conversation;
    if (!this.twin || answers.length !== 2) return this.answers.replaceChildren();
    if (this.views?.[0].answer !== answers[0] || this.views?.[1].answer !== answers[1]) {
      const options = { twin: true, plain: true, remedy: (name) => this.app.remedy(name) };
      this.views = answers.map((answer) => new AnswerView(answer, this.app.model(answer.model), options));
      this.judgement = h("p", { class: "verdict" });
      const heading = h("h2", { class: "unseen" }, "Two continuations");
      this.answers.replaceChildren(heading, h("div", { class: "pair twins" }, this.views.map(({ element }) => element)), this.judgement);
    }
    const { at } = compare(answers);
    this.views.forEach((view) => view.update({ odds: this.app.odds, parts: at }));
    this.judgement.replaceChildren(...verdict(answers));
  }

  /** What was written is marked behind the text. */
  paint() {
    const { text, marks } = this.app.conversation;
    this.elements = [];
    const pieces = [];
    let done = 0;
    for (const mark of this.twin ? [] : marks) {
      pieces.push(text.slice(done, mark.from));
      const written = h("span", { class: "written", "data-tokens": "" }, this.written(mark, text));
      written.tokenList = mark.tokens;
      pieces.push(written);
      done = mark.to;
    }
    // A last line that is empty has a height too.
    this.behind.replaceChildren(...pieces, text.slice(done), "\u200b");
    fit(this.area);
  }

  written(mark, text) {
    const part = text.slice(mark.from, mark.to);
    const placed = this.app.odds ? place(mark.tokens, part, 0) : [];
    if (!placed.length) return part;
    const pieces = placed.map(({ from, to, index }) => {
      const element = h("span", { class: `token s${surprise(mark.tokens[index].p)}`, "data-i": String(index) }, part.slice(from, to));
      this.elements.push({ from: mark.from + from, to: mark.from + to, element });
      return element;
    });
    return [...pieces, part.slice(placed.at(-1).to)];
  }

  buttons() {
    const { app } = this;
    const { conversation, busy } = app;
    const last = conversation.marks.at(-1);
    const written = this.twin ? conversation.answers.length === 2 : last?.to === conversation.text.length && last;
    const button = (name, label, onclick, disabled, more = {}) =>
      h("button", { type: "button", onclick, disabled, ...more }, icon(name), label);
    this.shownStats = h("p", { class: "stats" });
    const go = this.twin && written ? "Write both anew" : "Continue";
    const buttons = busy
      ? [button("stop", "Stop", () => app.stop(), false, { class: "main", id: "pad-go" })]
      : [
        button(this.twin && written ? "again" : "continue", go, () => this.go(), !app.models.length, { class: "main", id: "pad-go", title: "Ctrl + Enter" }),
        !this.twin && button("again", "Try another", () => this.again(), !written, { title: "Writes the last part anew" }),
        !this.twin && button("delete", "Take back", () => this.takeBack(), !written, { title: "Removes the last part" }),
        this.twin && written && button("continue", "Continue both", () => this.further()),
      ];
    const focused = document.activeElement?.id === "pad-go";
    this.bar.replaceChildren(...buttons.filter(Boolean), this.shownStats);
    if (focused) $("pad-go").focus();
    const { answer } = conversation;
    if (!this.twin && answer) this.shownStats.replaceChildren(...stats(answer, app.model(answer.model)));
  }
  // ---- writing

  /** Continues the text. */
  async go() {
    const { app } = this;
    const { conversation } = app;
    if (app.busy || !app.models.length) return;
    if (!conversation.text) return toast("Write the beginning of a text first.");
    if (this.twin) {
      conversation.answers = conversation.models.map(emptyAnswer);
      return app.run(conversation.answers, (answer) =>
        [PATH, completionBody(answer.model, conversation.text, app.settings, true)]);
    }
    const [model] = conversation.models;
    const prompt = conversation.text;
    const answer = emptyAnswer(model);
    const mark = { from: prompt.length, to: prompt.length, tokens: answer.tokens, model };
    conversation.answer = answer;
    conversation.marks.push(mark);
    const take = () => {
      conversation.text = prompt + answer.text;
      Object.assign(mark, { to: conversation.text.length, tokens: answer.tokens });
    };
    this.take = take;
    await app.run([answer], () => [PATH, completionBody(model, prompt, app.settings, app.probabilities)]);
    take();
    // Another pad may be written by now.
    if (this.take === take) this.take = null;
    if (mark.from === mark.to) conversation.marks.pop();
    await store.put(conversation);
    if (app.conversation === conversation) this.refresh();
  }

  /** Continues what both wrote. */
  further() {
    const { app } = this;
    const { conversation } = app;
    return app.run(conversation.answers, (answer) =>
      [PATH, completionBody(answer.model, conversation.text + answer.text, app.settings, true)]);
  }

  /** Removes the last part. */
  cut() {
    const { conversation } = this.app;
    const mark = conversation.marks.pop();
    if (mark) conversation.text = conversation.text.slice(0, mark.from);
    conversation.answer = undefined;
    this.refresh();
  }

  takeBack() {
    this.app.offerUndo("The last part was taken back.");
    this.cut();
    this.app.focusField();
  }

  again() {
    this.app.offerUndo("The last part is written anew.");
    this.cut();
    return this.go();
  }

  refresh() {
    this.update();
    this.buttons();
    this.app.changed();
  }
}
