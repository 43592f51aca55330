// The settings of a conversation, and of the page.

import { $, h } from "./dom.js";
import { PAD_TOKENS } from "./answer.js";

/** Ranges are the server's. */
const NUMBERS = [
  ["temperature", "Temperature", "0 always takes the likeliest token", { min: 0, max: 2, step: "any" }],
  ["top_p", "Top-p", "Only the likeliest tokens that make this share together", { min: 0.001, max: 1, step: "any" }],
  ["top_k", "Top-k", "Only so many of the likeliest tokens; 0: all", { min: 0, max: 1_000_000, step: 1 }],
  ["min_p", "Min-p", "Only tokens at least this share as likely as the likeliest", { min: 0, max: 1, step: "any" }],
  ["repetition_penalty", "Repetition penalty", "Above 1, what stands in the text already becomes less likely", { min: 0.01, max: 10, step: "any" }],
  ["presence_penalty", "Presence penalty", "Off the logit of tokens that were written", { min: -2, max: 2, step: "any" }],
  ["frequency_penalty", "Frequency penalty", "Off the logit, for each time a token was written", { min: -2, max: 2, step: "any" }],
  ["max_tokens", "Longest answer", `In tokens; a pad’s is ${PAD_TOKENS} where this is empty`, { min: 1, max: 1_000_000, step: 1 }],
  ["seed", "Seed", "The same seed gives the same text again", { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 }],
];

export class Drawer {
  constructor(app) {
    this.app = app;
    this.dialog = $("drawer");
    $("open-drawer").addEventListener("click", () => this.open());
    // A click beside the drawer closes it.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => $("open-drawer").focus());
  }

  open() {
    this.render();
    this.dialog.showModal();
  }

  render() {
    const { kind, models } = this.app.conversation;
    $("drawer-body").replaceChildren(
      ...(kind === "chat" ? [this.system()] : []),
      this.sampling(),
      ...(models.length === 2 ? [this.together()] : []),
      this.theme(),
    );
  }

  set(name, value) {
    const { settings } = this.app.conversation;
    if (value === undefined) delete settings[name];
    else settings[name] = value;
    this.app.settingsChanged();
  }

  system() {
    const area = h("textarea", { id: "set-system", placeholder: "The model’s own, if it has one" });
    area.value = this.app.conversation.settings.system ?? "";
    area.addEventListener("input", () => this.set("system", area.value || undefined));
    return h("fieldset", {}, h("div", { class: "setting" }, h("label", { for: "set-system" }, h("strong", {}, "System prompt")), area));
  }

  sampling() {
    const { settings, models } = this.app.conversation;
    const twin = models.length === 2;
    const rows = NUMBERS.map(([name, label, note, range]) => {
      const id = `set-${name}`;
      const field = h("input", { id, type: "number", inputmode: "decimal", placeholder: twin && name === "temperature" ? "0" : "default", "aria-describedby": `${id}-note`, ...range });
      if (settings[name] !== undefined) field.value = settings[name];
      const hint = h("p", { class: "note", id: `${id}-note` }, note);
      field.addEventListener("input", () => {
        const ok = field.validity.valid;
        const step = range.step === 1 ? "a whole number " : "";
        hint.textContent = ok ? note : `Give ${step}from ${range.min} to ${range.max}, or leave it empty.`;
        this.set(name, ok && field.value !== "" ? Number(field.value) : undefined);
      });
      return h("div", { class: "setting row" }, h("label", { for: id }, label), field, hint);
    });
    const stop = h("textarea", { id: "set-stop", rows: "2", spellcheck: "false", "aria-describedby": "set-stop-note" });
    stop.value = (settings.stop ?? []).map((text) => text.replaceAll("\n", "\\n")).join("\n");
    stop.addEventListener("input", () => {
      const texts = stop.value.split("\n").filter(Boolean).slice(0, 4).map((text) => text.replaceAll("\\n", "\n"));
      this.set("stop", texts.length ? texts : undefined);
    });
    const reset = h("button", { type: "button", onclick: () => {
      for (const name of [...NUMBERS.map(([name]) => name), "stop"]) delete settings[name];
      this.app.settingsChanged();
      this.render();
      $("set-temperature").focus();
    } }, "Back to the defaults");
    return h("fieldset", {}, h("legend", {}, "Sampling"), rows,
      h("div", { class: "setting" }, h("label", { for: "set-stop" }, "Stop at"), stop,
        h("p", { class: "note", id: "set-stop-note" }, "Up to four texts, one a line; \\n stands for a new line")),
      reset);
  }

  choices(name, legend, options, chosen, note, choose) {
    const labels = options.map(([value, label]) => {
      const input = h("input", { type: "radio", name, value, onchange: () => choose(value) });
      input.checked = value === chosen;
      return h("label", {}, input, label);
    });
    return h("fieldset", {}, h("legend", {}, legend), h("div", { class: "choices" }, labels), note && h("p", { class: "note" }, note));
  }

  together() {
    const chosen = this.app.conversation.settings.together ? "together" : "turns";
    return this.choices("together", "Two models answer", [["turns", "In turns"], ["together", "At once"]], chosen,
      "In turns, their times compare: at once, each waits for the other’s share of the processor.",
      (value) => this.set("together", value === "together" ? true : undefined));
  }

  theme() {
    const chosen = document.documentElement.dataset.theme ?? "system";
    return this.choices("theme", "Colours", [["system", "System"], ["light", "Light"], ["dark", "Dark"]], chosen, null, (value) => {
      if (value === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = value;
      try {
        localStorage.setItem("bitnet.theme", value);
      } catch {
        // It holds until the page is left.
      }
    });
  }
}
