// The list of conversations: opened, renamed, deleted, exported, imported. On a phone it slides in.

import { $, h, icon, iconButton, toast } from "./dom.js";
import { exportText, importText, titleOf } from "./exchange.js";
import { plural } from "./format.js";
import * as store from "./store.js";

export class Sidebar {
  constructor(app) {
    this.app = app;
    this.narrow = matchMedia("(max-width: 52rem)");
    this.narrow.addEventListener("change", () => this.toggle(false));
    this.toggle(false);
    $("open-sidebar").addEventListener("click", () => this.toggle(true));
    $("close-sidebar").addEventListener("click", () => this.toggle(false, true));
    $("scrim").addEventListener("click", () => this.toggle(false, true));
    $("export-all").addEventListener("click", () => this.export(null));
    $("import").addEventListener("click", () => $("import-file").click());
    $("import-file").addEventListener("change", async ({ target }) => {
      if (target.files[0]) await this.import(target.files[0]);
      target.value = "";
    });
    $("sidebar").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.narrow.matches) this.toggle(false, true);
    });
  }

  /** Shows or hides it where there is no room for both; what is hidden, or covered, takes no focus. */
  toggle(shown, focus) {
    const cover = shown && this.narrow.matches;
    $("sidebar").classList.toggle("shown", cover);
    $("sidebar").inert = this.narrow.matches && !cover;
    $("workspace").inert = cover;
    $("scrim").hidden = !cover;
    $("open-sidebar").setAttribute("aria-expanded", String(cover));
    if (cover) $("close-sidebar").focus();
    else if (focus) $("open-sidebar").focus();
  }

  async render() {
    // A name that is being written stays.
    if ($("list").querySelector("input")) return;
    const conversations = await store.all();
    $("list").replaceChildren(...conversations.map((conversation) => this.item(conversation)));
    $("list-empty").hidden = conversations.length > 0;
    $("export-all").disabled = conversations.length === 0;
  }

  item(conversation) {
    const { app } = this;
    const title = titleOf(conversation);
    const open = conversation.id === app.conversation.id;
    const item = h("li", open ? { class: "open" } : {});
    const choose = () => {
      this.toggle(false);
      app.open(conversation.id);
    };
    item.append(
      h("button", { type: "button", class: "name", title, "aria-current": open && "true", onclick: choose },
        conversation.kind === "pad" && icon("pad"), h("span", {}, title)),
      iconButton("edit", `Rename “${title}”`, () => this.edit(item, conversation, title)),
      iconButton("export", `Export “${title}”`, () => this.export([conversation.id])),
      iconButton("delete", `Delete “${title}”`, () => this.delete(conversation.id)),
    );
    return item;
  }

  edit(item, { id }, title) {
    const field = h("input", { "aria-label": "New name", maxlength: "200" });
    field.value = title;
    let left = false;
    const leave = (name) => {
      if (left) return;
      left = true;
      this.rename(id, name);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") leave(field.value.trim());
      else if (event.key === "Escape") event.stopPropagation(), leave(null);
    });
    field.addEventListener("blur", () => leave(field.value.trim()));
    item.replaceChildren(field);
    field.select();
  }
  async rename(id, name) {
    const { app } = this;
    const conversation = name && (id === app.conversation.id ? app.conversation : await store.get(id));
    if (conversation) {
      conversation.title = name.slice(0, 200);
      await store.put(conversation);
    }
    $("list").replaceChildren();
    await this.render();
    app.heading();
    document.querySelector("nav li.open .name")?.focus();
  }

  async delete(id) {
    const { app } = this;
    if (id === app.conversation.id) {
      app.stop();
      app.keep();
    }
    const conversation = await store.get(id);
    if (!conversation) return this.render();
    await store.remove(id);
    if (id === app.conversation.id) app.fresh(conversation.kind);
    await this.render();
    toast(`“${titleOf(conversation)}” was deleted.`, {
      label: "Undo",
      run: async () => {
        await store.put(conversation);
        app.show(conversation);
      },
    });
  }

  async export(ids) {
    this.app.keep();
    const conversations = (await store.all()).filter(({ id }) => !ids || ids.includes(id));
    const [first, ...others] = conversations;
    const name = others.length ? "conversations" : titleOf(first).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    const url = URL.createObjectURL(new Blob([exportText(conversations)], { type: "application/json" }));
    h("a", { href: url, download: `${name || "conversation"}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async import(file) {
    try {
      const conversations = importText(await file.text());
      for (const conversation of conversations) await store.put(conversation);
      if (conversations.length) await this.app.open(conversations[0].id);
      toast(`${plural(conversations.length, "conversation")} imported.`);
    } catch (error) {
      $("notice").replaceChildren(h("div", { class: "problem" }, h("strong", {}, "Nothing was imported."), error.message));
      scrollTo(0, 0);
    }
  }
}
