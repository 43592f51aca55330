// What is open, who answers the buttons, and who asks the server.

import { chatBody, emptyAnswer, receive } from "./answer.js";
import { problem } from "./answer-view.js";
import { models, useKey } from "./api.js";
import { installCard } from "./card.js";
import { Chat } from "./chat.js";
import { $, announce, fit, h, toast } from "./dom.js";
import { Drawer } from "./drawer.js";
import { isLoading } from "./errors.js";
import { newConversation, titleOf } from "./exchange.js";
import { count, plural } from "./format.js";
import { Pad } from "./pad.js";
import { Sidebar } from "./sidebar.js";
import * as store from "./store.js";
import { welcome } from "./welcome.js";

const SETTINGS = "bitnet.settings";
const SAVE_EVERY = 2000;
const ASK_AGAIN = 2000;
/** How near to the end a reader follows it, in pixels. */
const NEAR = 120;

class App {
  models = [];
  conversation = newConversation("chat", []);
  odds = false;
  #controller = null;
  #saved = 0;
  #saving = null;
  #frame = 0;
  #seed = 0;
  /** A pad that was asked for stays one, whatever the model. */
  #padChosen = false;

  async start() {
    this.chat = new Chat($("transcript"), this);
    this.pad = new Pad($("pad"), this);
    this.sidebar = new Sidebar(this);
    this.drawer = new Drawer(this);
    installCard();
    this.listen();
    const kept = await store.open((id) => this.changedElsewhere(id));
    if (!kept) $("list-empty").textContent = "This browser keeps nothing here: export what you want to keep.";
    await this.list();
    await this.loadModels();
  }

  get busy() {
    return this.#controller !== null;
  }

  get view() {
    return this.conversation.kind === "pad" ? this.pad : this.chat;
  }

  model(id) {
    return this.models.find((model) => model.id === id);
  }

  // ---- models

  async loadModels() {
    try {
      this.models = await models();
      $("notice").replaceChildren();
    } catch (error) {
      if (error.name === "ApiError") this.refused(error);
      else throw error;
      return;
    }
    if (this.models.some(({ about }) => about.loading)) setTimeout(() => this.loadModels(), ASK_AGAIN);
    this.useModels();
  }

  refused(error) {
    $("notice").replaceChildren(problem(error, null, (name) => this.remedy(name)));
    if (error.status === 401) this.askKey();
    if (isLoading(error)) setTimeout(() => this.loadModels(), ASK_AGAIN);
    this.render();
  }

  /** A new conversation has a model that is there, and the kind that suits it. */
  useModels() {
    const { conversation } = this;
    if (!this.written && !this.model(conversation.models[0]) && this.models.length) {
      const first = this.models.find(({ about }) => about.template) ?? this.models[0];
      const kind = first.about.template ? conversation.kind : "pad";
      this.conversation = newConversation(kind, [first.id], this.lastSettings());
    }
    this.render();
    this.focusField();
  }

  /** Whether anything stands in the conversation. */
  get written() {
    const { kind, text, turns } = this.conversation;
    return kind === "pad" ? text !== "" : turns.length > 0;
  }

  // ---- conversations

  lastSettings() {
    try {
      return JSON.parse(localStorage.getItem(SETTINGS)) ?? {};
    } catch {
      return {};
    }
  }

  settingsChanged() {
    // A system prompt belongs to its conversation.
    const { system, ...rest } = this.conversation.settings;
    try {
      localStorage.setItem(SETTINGS, JSON.stringify(rest));
    } catch {
      // They hold for this conversation.
    }
    if (this.written) this.changed();
  }

  /** Keeps the conversation, soon. */
  changed() {
    this.conversation.changed = Date.now();
    const { conversation } = this;
    const save = () => {
      this.#saving = null;
      this.#saved = Date.now();
      store.put(conversation).then(() => this.list(), () => toast("The browser could not keep this conversation. Export it."));
    };
    clearTimeout(this.#saving);
    this.#saving = setTimeout(save, Math.max(0, Math.min(300, SAVE_EVERY - (Date.now() - this.#saved))));
    this.flush = save;
  }

  /** Keeps now what would be kept soon. */
  keep() {
    if (this.#saving === null) return;
    clearTimeout(this.#saving);
    this.flush();
  }

  list() {
    return this.sidebar.render();
  }

  async changedElsewhere(id) {
    await this.list();
    if (id !== this.conversation.id || this.busy) return;
    const conversation = await store.get(id);
    if (conversation) this.show(conversation);
  }

  fresh(kind) {
    this.#padChosen = kind === "pad";
    this.stop();
    this.keep();
    const fits = (model) => kind === "pad" || model.about.template;
    const kept = this.conversation.models.filter((id) => this.model(id) && fits(this.model(id)));
    const first = kept.length ? kept : this.models.filter(fits).slice(0, 1).map(({ id }) => id);
    this.show(newConversation(kind, first, this.lastSettings()));
    this.sidebar.toggle(false);
    this.focusField();
    announce(kind === "pad" ? "New pad" : "New chat");
  }

  async open(id) {
    this.stop();
    this.keep();
    const conversation = await store.get(id);
    if (!conversation) return this.list();
    this.show(conversation);
    announce(titleOf(conversation));
    this.toEnd();
  }

  show(conversation) {
    this.conversation = conversation;
    // An answer whose page was closed ends where it was.
    const answers = conversation.kind === "pad" ? [...conversation.answers, conversation.answer] : conversation.turns.flatMap((turn) => turn.answers ?? []);
    for (const answer of answers) if (answer && !this.busy) answer.finish ??= "stopped";
    this.render();
    this.list();
  }

  // ---- what is written

  /** The answers before a turn, as `side` sees them: its own, where there are two. */
  messages(upTo, side) {
    const messages = [];
    for (const turn of this.conversation.turns.slice(0, upTo)) {
      const content = turn.role === "user" ? turn.content : (turn.answers[side] ?? turn.answers[0]).text;
      const last = messages.at(-1);
      if (!content) continue;
      // After an answer that failed, two messages of a user follow each other: templates know turns.
      if (last?.role === turn.role) last.content += `\n\n${content}`;
      else messages.push({ role: turn.role, content });
    }
    return messages;
  }

  send(text) {
    const { conversation } = this;
    conversation.turns.push({ role: "user", content: text });
    this.answer(conversation.turns.length);
    this.toEnd();
  }

  /** Answers the turns before `i`; what stood from there on is gone, and can be had back. */
  answer(i) {
    const { turns, models } = this.conversation;
    turns.length = i;
    turns.push({ role: "assistant", answers: models.map(emptyAnswer) });
    this.render();
    this.run(this.conversation.turns[i].answers, (answer, side) =>
      ["/v1/chat/completions", chatBody(answer.model, this.messages(i, side), this.settings, this.probabilities)], i);
  }

  regenerate(i) {
    this.offerUndo("The answer is written anew.");
    this.answer(i);
  }

  editUser(i, text) {
    if (this.conversation.turns.length > i + 1) this.offerUndo("The conversation goes on from the new message.");
    this.conversation.turns[i] = { role: "user", content: text };
    this.answer(i + 1);
    this.focusField();
  }

  editAnswer(i, text) {
    this.offerUndo("The answer was changed.");
    const { model } = this.conversation.turns[i].answers[0];
    this.conversation.turns[i].answers = [{ ...emptyAnswer(model), text, finish: "stop" }];
    this.render();
    this.changed();
    this.focusField();
  }

  continueTurn(i) {
    this.run(this.conversation.turns[i].answers, (answer, side) =>
      ["/v1/chat/completions", chatBody(answer.model, this.messages(i + 1, side), this.settings, this.probabilities)], i);
  }

  offerUndo(text) {
    const before = structuredClone(this.conversation);
    toast(text, {
      label: "Undo",
      run: () => {
        if (this.conversation.id !== before.id) return;
        this.stop();
        this.show(before);
        this.changed();
      },
    });
  }

  /** Settings as they are sent: twins part by what they know and not by chance, so they are greedy or draw with one seed. */
  get settings() {
    const { settings, models } = this.conversation;
    if (models.length < 2) return settings;
    return { temperature: 0, seed: this.#seed, ...settings };
  }

  /** Where two answers part is only told by their tokens. */
  get probabilities() {
    return this.odds || this.conversation.models.length === 2;
  }

  /** Sends a request for each answer, and shows what comes. */
  async run(answers, request, turn) {
    const controller = new AbortController();
    this.#controller = controller;
    const { conversation } = this;
    this.#seed = Math.floor(Math.random() * 2 ** 31);
    for (const answer of answers) answer.finish = null;
    this.buttons();
    this.view.render();
    const one = async (answer, side) => {
      if (controller.signal.aborted) {
        answer.finish = "stopped";
        return;
      }
      const [path, body] = request(answer, side);
      await receive(path, body, answer, {
        signal: controller.signal,
        onChange: () => this.conversation === conversation && this.grown(turn),
      });
    };
    if (conversation.settings.together) await Promise.all(answers.map(one));
    else for (const [side, answer] of answers.entries()) await one(answer, side);
    if (this.#controller === controller) this.#controller = null;
    if (this.conversation !== conversation) return store.put(conversation).then(() => this.list());
    this.changed();
    this.buttons();
    this.grown(turn, true);
    const failed = answers.some(({ error }) => error);
    const tokens = answers.map(({ stats }) => plural(stats.completion ?? 0, "token")).join(" and ");
    if (!failed) announce(controller.signal.aborted ? "Stopped." : `Answer complete: ${tokens}.`);
  }

  /** An answer has grown: shown with the next frame, and now and then kept. */
  grown(turn, ended = false) {
    const paint = () => {
      this.#frame = 0;
      const near = this.atEnd();
      if (turn === undefined) {
        this.pad.update();
        if (ended) this.pad.buttons();
      } else {
        this.chat.update(turn);
        // Buttons of earlier turns wait until nothing is written.
        if (ended) this.chat.render();
      }
      this.context();
      if (near) this.toEnd();
      this.follow();
    };
    if (ended) {
      cancelAnimationFrame(this.#frame);
      paint();
    } else {
      this.#frame ||= requestAnimationFrame(paint);
      if (Date.now() - this.#saved > SAVE_EVERY) this.changed();
    }
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }

  // ---- the page

  remedy(name, turn) {
    if (name === "key") return this.askKey();
    if (name === "new") return this.fresh(this.conversation.kind);
    if (name === "settings") return this.drawer.open();
    if (!this.models.length) return this.loadModels();
    if (turn === undefined) {
      if (this.conversation.kind !== "pad") return this.loadModels();
      return this.pad.go();
    }
    const { answers } = this.conversation.turns[turn];
    // What one of two wrote before the server went is no reason to throw it away.
    return name === "continue" && answers.some(({ text }) => text) ? this.continueTurn(turn) : this.answer(turn);
  }

  askKey() {
    const dialog = $("key");
    if (dialog.open) return;
    dialog.returnValue = "";
    dialog.showModal();
    $("key-field").focus();
  }

  focusField() {
    // On a phone the keyboard would cover what was just opened.
    if (matchMedia("(pointer: coarse)").matches) return;
    (this.conversation.kind === "pad" ? $("pad-text") : $("field"))?.focus({ preventScroll: true });
  }

  atEnd() {
    const { scrollHeight } = document.documentElement;
    return scrollY + innerHeight > scrollHeight - NEAR;
  }

  toEnd() {
    scrollTo(0, document.documentElement.scrollHeight);
    this.follow();
  }

  follow() {
    $("latest").hidden = this.atEnd();
  }

  heading() {
    const title = titleOf(this.conversation);
    $("title").textContent = title;
    document.title = this.written ? `${title} · bitnet` : "bitnet";
  }

  render() {
    const { conversation } = this;
    const pad = conversation.kind === "pad";
    const twin = conversation.models.length === 2;
    document.body.classList.toggle("wide", twin);
    document.body.classList.toggle("odds", this.odds);
    $("transcript").hidden = pad;
    $("composer").hidden = pad;
    $("pad").hidden = !pad;
    document.querySelector(".skip").href = pad ? "#pad-text" : "#field";
    this.heading();
    this.view.render();
    const shown = conversation.models.map((id) => this.model(id)).filter(Boolean);
    $("welcome").hidden = this.written || pad || !shown.length;
    if (!$("welcome").hidden) welcome(shown);
    this.buttons();
    this.context();
    this.follow();
  }

  options(select, chosen) {
    const gone = chosen && !this.model(chosen) ? [h("option", { value: chosen }, `${chosen} (not here)`)] : [];
    select.replaceChildren(...gone, ...this.models.map(({ id }) => h("option", { value: id }, id)));
    select.value = chosen ?? "";
    select.disabled = this.busy || !this.models.length;
    select.hidden = !select.options.length;
  }

  buttons() {
    const { conversation, busy } = this;
    const [first, second] = conversation.models;
    this.options($("model"), first);
    $("second").hidden = second === undefined;
    if (second !== undefined) this.options($("model-b"), second);
    $("twin").setAttribute("aria-pressed", String(second !== undefined));
    $("twin").disabled = busy || (this.models.length < 2 && second === undefined);
    $("twin").title = this.models.length < 2 ? "Start the server with two models to compare them" : "Two models answer side by side";
    $("odds").setAttribute("aria-pressed", String(this.odds));
    $("new-chat").disabled = this.models.length > 0 && !this.models.some(({ about }) => about.template);
    $("new-chat").title = $("new-chat").disabled ? "No model here has a chat template: pads continue texts" : "";
    // What is pressed by keyboard keeps the focus when it becomes the other.
    const focused = [$("send"), $("stop")].includes(document.activeElement);
    $("send").hidden = busy;
    $("stop").hidden = !busy;
    if (focused) (busy ? $("stop") : $("field")).focus();
    $("send").disabled = !this.models.length || !$("field").value.trim();
    if (conversation.kind === "pad") this.pad.buttons();
  }

  /** How full the context is, after the last answer. */
  context() {
    const { conversation } = this;
    const answers = conversation.turns?.findLast(({ role, answers }) => role === "assistant" && answers.some(({ stats }) => stats.prompt))?.answers ?? [];
    const parts = answers.flatMap(({ model, stats }) => {
      const size = this.model(model)?.about.context;
      const used = stats.prompt + (stats.fresh ?? 0);
      if (!stats.prompt) return [];
      const text = size ? `${count(used)} of ${plural(size, "token")}` : plural(used, "token");
      return [h("span", size && used > 0.9 * size ? { class: "full" } : {}, `Context: ${text}`)];
    });
    $("context").replaceChildren(...parts.slice(0, 1));
  }

  toggleTwin() {
    const { conversation } = this;
    if (conversation.models.length === 2) {
      conversation.models.length = 1;
    } else {
      const fits = (model) => model.id !== conversation.models[0] && (conversation.kind === "pad" || model.about.template);
      const others = this.models.filter(fits);
      const own = this.model(conversation.models[0])?.about.ternary;
      const other = others.find(({ about }) => about.ternary !== own) ?? others[0];
      if (!other) return toast("No other model here has a chat template. Open a pad to compare with one that has none.");
      conversation.models.push(other.id);
    }
    this.render();
    if (this.written) this.changed();
  }

  chooseModel(side, id) {
    const { conversation } = this;
    conversation.models[side] = id;
    // An empty chat with a model that has no template is a pad, and the other way round.
    const kind = this.model(id)?.about.template && !this.#padChosen ? "chat" : "pad";
    if (!this.written && side === 0 && conversation.kind !== kind) {
      this.show(newConversation(kind, conversation.models, conversation.settings));
      toast(kind === "pad" ? `${id} has no chat template: it continues texts.` : `${id} answers in turns.`);
    } else {
      this.render();
      if (this.written) this.changed();
    }
  }

  listen() {
    const on = (id, type, run) => $(id).addEventListener(type, run);
    on("new-chat", "click", () => this.fresh("chat"));
    on("new-pad", "click", () => this.fresh("pad"));
    on("model", "change", ({ target }) => this.chooseModel(0, target.value));
    on("model-b", "change", ({ target }) => this.chooseModel(1, target.value));
    on("twin", "click", () => this.toggleTwin());
    on("odds", "click", () => {
      this.odds = !this.odds;
      this.render();
      const known = JSON.stringify(this.conversation).includes('"tokens":[{');
      if (this.odds && this.written && !known) toast("Answers have their probabilities from now on.");
    });
    on("stop", "click", () => this.stop());
    on("latest", "click", () => this.toEnd());
    on("field", "input", ({ target }) => {
      fit(target);
      $("send").disabled = !this.models.length || !target.value.trim();
    });
    on("field", "keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("composer").requestSubmit();
    });
    on("composer", "submit", (event) => {
      event.preventDefault();
      const text = $("field").value;
      if (!text.trim() || this.busy || !this.models.length) return;
      $("field").value = "";
      fit($("field"));
      this.send(text);
    });
    on("key-cancel", "click", () => $("key").close());
    on("key", "close", () => {
      const value = $("key-field").value.trim();
      $("key-field").value = "";
      if ($("key").returnValue !== "use" || !value) return;
      useKey(value, $("key-keep").checked);
      this.loadModels();
    });
    addEventListener("scroll", () => this.follow(), { passive: true });
    addEventListener("pagehide", () => this.keep());
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.busy && !document.querySelector("dialog[open]")) this.stop();
      const typing = event.target.matches?.("input, textarea, select");
      if (event.key === "/" && !typing) event.preventDefault(), this.focusField();
    });
  }
}

new App().start();
