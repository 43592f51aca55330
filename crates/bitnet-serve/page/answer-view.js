// An answer on the page: who wrote it, what, how fast, and what went wrong.

import { copyButton, h } from "./dom.js";
import { explain } from "./errors.js";
import { bytes, count, joules, plural, probability, rate, seconds } from "./format.js";
import { show, showPlain } from "./render.js";
import { markAt, parting, place, visible } from "./tokens.js";

/** `"ternary"`, `"float"` or neither: the class that gives a model its colour. */
export function kindOf(model) {
  return model?.about.ternary === true ? "ternary" : model?.about.ternary === false ? "float" : "";
}

const REMEDIES = { again: "Try again", continue: "Continue", key: "Enter a key", new: "New conversation", settings: "Open the settings" };

/** A box that says what went wrong, and has a button for the remedy. */
export function problem(error, model, remedy, begun = false) {
  const { title, text, remedy: name } = explain(error, model, begun);
  const button = REMEDIES[name] && h("button", { type: "button", onclick: () => remedy(name) }, REMEDIES[name]);
  return h("div", { class: "problem" }, h("strong", {}, title), text, button && h("div", { class: "buttons" }, button));
}

/** Speed, time, tokens and energy of an answer; `energy` is modelled, and says so. */
export function stats({ stats, finish }, model) {
  const { first, time, completion, prompt, cached, rate: speed } = stats;
  if (!completion) return [];
  const picojoules = model?.about.picojoules;
  const read = prompt && `${plural(prompt, "token")} read${cached ? `, ${count(cached)} of them from the cache` : ""}`;
  return [
    h("span", {}, plural(completion, "token")),
    speed && h("span", {}, rate(speed)),
    first && h("span", { title: read }, `first token after ${seconds(first)}`),
    finish && time && h("span", {}, `${seconds(time)} in all`),
    picojoules && h("span", { title: `Modelled, not measured: ${model.about.energyOf}` }, `${joules(picojoules * completion)} modelled`),
  ].filter(Boolean);
}

/** Why an answer ended, where that is not obvious. */
function ending({ finish, text, stats: { prompt, completion } }, model) {
  if (finish === "stopped") return text ? "Stopped." : "Stopped before the first word.";
  if (finish === "length") {
    const full = model?.about.context && prompt + completion >= model.about.context;
    return full ? "The context is full." : "The limit was reached.";
  }
  return finish === "stop" && !text ? "The model answered with nothing." : "";
}

/** One answer's section; `update` brings it up to date while the answer grows. */
export class AnswerView {
  /** `options`: `twin` (a heading with a colour), `plain` (no Markdown), `remedy` (what a remedy's button does). */
  constructor(answer, model, options) {
    Object.assign(this, { answer, model, options });
    const { twin } = options;
    const facts = twin && model
      ? [answer.model.includes(kindOf(model)) ? null : kindOf(model), model.about.bytes && `${bytes(model.about.bytes)} of weights`]
      : [];
    this.body = h("div", { class: options.plain ? "body plain" : "body", "data-tokens": "" });
    this.stats = h("p", { class: "stats" });
    this.end = h("div", { class: "end" });
    this.element = h(
      "section",
      { class: `answer ${twin ? kindOf(model) : ""}` },
      h("div", { class: "by" }, h(options.plain ? "h3" : "h2", {}, answer.model || "Answer"), h("span", {}, facts.filter(Boolean).join(" · ")),
        twin && copyButton(`Copy the answer of ${answer.model}`, () => answer.text)),
      this.body,
      this.end,
      this.stats,
    );
  }

  /** `parts`: where this answer parts from its twin, as an index of its text; `odds`: whether probabilities are shown. */
  update({ odds, parts = null }) {
    const { answer, model, options } = this;
    const writing = answer.finish === null;
    const placed = answer.tokens.length && (odds || parts !== null) ? place(answer.tokens, answer.text, answer.start) : [];
    const mark = parts === null ? null : markAt(parts, answer.text, placed);
    let spans = odds ? placed : [];
    // What stands before the tokens that are known may part too.
    if (mark && !spans.includes(mark)) spans = [...spans.filter(({ from }) => from < mark.from), mark, ...spans.filter(({ from }) => from >= mark.to)];
    const paint = { spans, tokens: answer.tokens, parts: mark?.from ?? null };
    this.body.tokenList = answer.tokens;
    if (options.plain) showPlain(this.body, answer.text, paint);
    else show(this.body, answer.text, paint);
    if (writing && !answer.text) {
      this.body.replaceChildren(h("span", { class: "waiting", role: "img", "aria-label": "Waiting for the first word" }));
      this.body.blocks = [];
    }
    // One stop of the Tab key for all tokens; arrows move within.
    const first = this.body.querySelector(".token");
    if (first && !writing) first.tabIndex = 0;
    this.element.setAttribute("aria-busy", String(writing));
    this.stats.replaceChildren(...stats(answer, model));
    if (answer.error) this.end.replaceChildren(problem(answer.error, model, options.remedy, answer.text !== ""));
    else this.end.replaceChildren(writing ? "" : ending(answer, model));
    const alert = answer.error ? "alert" : null;
    if (alert) this.end.setAttribute("role", alert);
    else this.end.removeAttribute("role");
  }
}

/** Where two answers part, and whether they have ended. */
export function compare([a, b]) {
  const ended = a.finish !== null && b.finish !== null && !a.error && !b.error;
  return { at: parting(a.text, b.text, ended), ended };
}

/** In words, where two answers part; nothing while they agree and go on. */
export function verdict(answers) {
  const { at, ended } = compare(answers);
  if (answers.some(({ text, error }) => error && !text)) return [];
  if (at === null) return ended && answers[0].text ? [`Both wrote the same ${plural(answers[0].stats.completion ?? 0, "token")}.`] : [];
  const sides = answers.map((answer) => {
    const placed = place(answer.tokens, answer.text, answer.start);
    const mark = markAt(at, answer.text, placed);
    if (!mark) return { words: [h("b", {}, answer.model), " ends"] };
    const token = answer.tokens[mark.index];
    const written = h("mark", {}, visible(answer.text.slice(mark.from, mark.to)));
    const words = [h("b", {}, answer.model), " wrote ", written, token ? ` (${probability(token.p)})` : ""];
    return { words, number: mark.index >= 0 && answer.start === 0 ? mark.index + 1 : null };
  });
  const numbers = sides.map(({ number }) => number).filter(Boolean);
  const where = numbers.length ? `They part at token ${count(Math.min(...numbers))}: ` : "They part: ";
  return [where, ...sides[0].words, ", ", ...sides[1].words, "."];
}
