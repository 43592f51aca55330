// The turns of a chat, and what can be done with each.

import { AnswerView, compare, verdict } from "./answer-view.js";
import { copyButton, fit, h, iconButton } from "./dom.js";

export class Chat {
  /** `app` has the conversation, the models, and what the buttons do. */
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.turns = [];
  }

  /** All of it anew. */
  render() {
    const { turns } = this.app.conversation;
    this.turns = turns.map((turn, i) => (turn.role === "user" ? this.user(turn, i) : this.assistant(turn, i)));
    this.root.replaceChildren(...this.turns.map(({ element }) => element));
    this.turns.forEach((view) => view.update?.());
  }

  /** A turn that grows. */
  update(i) {
    this.turns[i]?.update?.();
  }

  user(turn, i) {
    const { app } = this;
    const actions = h("div", { class: "actions" });
    const bubble = h("div", { class: "bubble" }, turn.content);
    const element = h("article", { class: "turn user" }, h("h2", { class: "unseen" }, "You"), bubble, actions);
    const edit = iconButton("edit", "Edit this message", () =>
      this.edit(element, turn.content, "Send", "Your message", (text) => app.editUser(i, text)));
    actions.append(edit, copyButton("Copy this message", () => turn.content));
    edit.disabled = app.busy;
    return { element };
  }

  assistant(turn, i) {
    const { app } = this;
    const twin = turn.answers.length === 2;
    const remedy = (name) => app.remedy(name, i);
    const views = turn.answers.map((answer) => new AnswerView(answer, app.model(answer.model), { twin, remedy }));
    const judgement = h("p", { class: "verdict" });
    const actions = h("div", { class: "actions" });
    const answers = h("div", { class: twin ? "pair twins" : "" }, views.map(({ element }) => element));
    const element = h("article", { class: "turn assistant" }, twin && h("h2", { class: "unseen" }, "Two answers"), answers, twin && judgement, actions);
    const buttons = this.buttons(turn, i, views, element);
    const update = () => {
      const parts = twin ? compare(turn.answers).at : null;
      views.forEach((view) => view.update({ odds: app.odds, parts }));
      if (twin) judgement.replaceChildren(...verdict(turn.answers));
      const shown = turn.answers.every(({ finish }) => finish !== null) && !app.busy;
      if (shown !== actions.hasChildNodes()) actions.replaceChildren(...(shown ? buttons() : []));
    };
    return { element, update };
  }

  buttons(turn, i, views, element) {
    const { app } = this;
    const twin = turn.answers.length === 2;
    const last = i === app.conversation.turns.length - 1;
    return () => [
      !twin && turn.answers[0].text && copyButton("Copy this answer", () => turn.answers[0].text),
      iconButton("again", twin ? "Answer again, both" : "Answer again", () => app.regenerate(i)),
      last && turn.answers.some(({ text }) => text) &&
        iconButton("continue", "Continue this answer", () => app.continueTurn(i)),
      !twin && turn.answers[0].text &&
        iconButton("edit", "Edit this answer", () =>
          this.edit(element, turn.answers[0].text, "Save", "The answer", (text) => app.editAnswer(i, text))),
    ].filter(Boolean);
  }

  /** A turn becomes a text area until it is saved or left. */
  edit(element, text, verb, label, save) {
    const area = h("textarea", { "aria-label": label, rows: "3" });
    area.value = text;
    const cancel = () => {
      this.render();
      this.app.focusField();
    };
    const done = () => (area.value === text && verb === "Save" ? cancel() : area.value.trim() && save(area.value));
    area.addEventListener("input", () => fit(area));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") event.stopPropagation(), cancel();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done();
    });
    const hint = verb === "Send" ? "What follows is written anew. " : "";
    element.replaceChildren(
      h("div", { class: "editor" }, area,
        h("div", { class: "buttons" },
          h("p", { class: "note" }, `${hint}Ctrl + Enter: ${verb.toLowerCase()}. Esc: leave it.`),
          h("button", { type: "button", onclick: cancel }, "Cancel"),
          h("button", { type: "button", class: "main", onclick: done }, verb))),
    );
    fit(area);
    area.focus();
  }
}
