// What is known of a model, shown until something is written.

import { kindOf } from "./answer-view.js";
import { $, h } from "./dom.js";
import { bytes, joules, parameters, plural } from "./format.js";

/** The facts of one model, or of two side by side. */
export function welcome(models) {
  $("welcome").replaceChildren(...(models.length === 2 ? both(models) : one(models[0])));
}

function one(model) {
  return [
    h("h2", {}, model.id),
    h("p", {}, "It runs on the server’s own machine. What you write goes nowhere else."),
    tiles(model),
  ];
}

function both(models) {
  return [
    h("h2", {}, "Two models, one prompt"),
    h("p", {}, "Both answer side by side; the first token where they part is marked."),
    h("div", { class: "pair" }, models.map((model) => h("div", { class: kindOf(model) }, h("h3", {}, model.id), tiles(model)))),
  ];
}

function tiles({ about }) {
  const facts = [
    about.parameters && ["Parameters", parameters(about.parameters)],
    about.bytes && ["Weights in memory", bytes(about.bytes)],
    about.context && ["Context", plural(about.context, "token")],
    about.picojoules && ["Energy a token", joules(about.picojoules), "modelled"],
  ];
  return h("dl", { class: "tiles" }, facts.filter(Boolean).map(([label, value, note]) =>
    h("div", { title: note && `Modelled, not measured: ${about.energyOf}` },
      h("dt", {}, label), h("dd", {}, h("b", {}, value), note && h("small", {}, note)))));
}
