// The card that shows how likely a token was, and what else was: on hovering, and as the focus moves from token to token.

import { $, announce, h } from "./dom.js";
import { probability } from "./format.js";
import { visible } from "./tokens.js";

const card = $("card");
let shown = null;

/** The token that an element shows; its list hangs at the element around the text. */
function tokenOf(element) {
  return element.closest("[data-tokens]")?.tokenList?.[Number(element.dataset.i)];
}

function bar(text, logprob, chosen) {
  const fill = h("i", {});
  fill.style.width = `${100 * Math.exp(logprob)}%`;
  return h("li", chosen ? { class: "chosen" } : {}, fill, h("code", {}, visible(text)), h("span", {}, probability(logprob)));
}

function showAt(element, token, spoken) {
  hide();
  const listed = token.top.findIndex(([text]) => text === token.t);
  const rows = token.top.map(([text, logprob], i) => bar(text, logprob, i === listed));
  if (listed < 0) rows.push(bar(token.t, token.p, true));
  card.replaceChildren(
    h("p", { class: "note" }, listed < 0 && token.top.length ? `Drawn although ${token.top.length} were likelier` : "The likeliest tokens here"),
    h("ol", {}, rows),
  );
  card.hidden = false;
  const [at] = element.getClientRects();
  const below = at.bottom + 8 + card.offsetHeight < innerHeight;
  card.style.left = `${Math.max(8, Math.min(at.left, innerWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - 8 - card.offsetHeight)}px`;
  shown = element;
  if (spoken) {
    const others = token.top.filter(([text]) => text !== token.t).slice(0, 3);
    const rest = others.map(([text, logprob]) => `${visible(text)} ${probability(logprob)}`).join(", ");
    announce(`${visible(token.t)} ${probability(token.p)}${rest ? `; else ${rest}` : ""}`);
  }
}

function hide() {
  card.hidden = true;
  shown = null;
}

/** The token under a pointer, also where a text area lies above it. */
function tokenAt({ target, clientX, clientY }) {
  if (target.closest?.(".token")) return target.closest(".token");
  if (target.tagName !== "TEXTAREA") return null;
  return document.elementsFromPoint(clientX, clientY).find((element) => element.classList.contains("token")) ?? null;
}

function move(from, key) {
  const all = [...from.closest("[data-tokens]").querySelectorAll(".token")];
  const to = { ArrowRight: all.indexOf(from) + 1, ArrowLeft: all.indexOf(from) - 1, Home: 0, End: all.length - 1 }[key];
  const next = all[to];
  if (!next) return;
  from.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/** Listens for the whole page. */
export function installCard() {
  document.addEventListener("pointermove", (event) => {
    const element = tokenAt(event);
    if (element === shown) return;
    const token = element && tokenOf(element);
    if (token) showAt(element, token, false);
    else if (!shown?.matches(":focus")) hide();
  });
  document.addEventListener("focusin", ({ target }) => {
    const token = target.classList?.contains("token") && tokenOf(target);
    if (token) showAt(target, token, true);
    else hide();
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.classList?.contains("token")) return;
    if (event.key === "Escape") {
      hide();
    } else if (["ArrowRight", "ArrowLeft", "Home", "End"].includes(event.key)) {
      event.preventDefault();
      move(event.target, event.key);
    }
  });
  document.addEventListener("scroll", () => shown && hide(), { passive: true });
}

/** Shows the card for the token at a text area's caret. */
export function showAtCaret(elements, position) {
  const element = elements.find(({ from, to }) => from <= position && position < to)?.element;
  const token = element && tokenOf(element);
  if (token) showAt(element, token, true);
  else hide();
}
