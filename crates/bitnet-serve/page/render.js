// A tree of Markdown to elements. Nothing here takes HTML: elements are made one by one, of the tags named below, and text is
// text. Blocks that did not change keep their elements, so that a growing answer costs its last block, and a selection stays.

import { copyButton, h } from "./dom.js";
import { parse } from "./markdown.js";
import { surprise } from "./tokens.js";

const TAGS = new Set(
  "p ul ol li blockquote hr em strong del code br span table thead tbody tr th td".split(" "),
);

/**
 * Shows `source` in `body`. `spans` are parts of it, in order, `{ from, to, index }`: tokens; `tokens` has their
 * probabilities; the one that begins at `parts` is where this answer parts from its twin.
 */
export function show(body, source, { spans = [], tokens = [], parts = null } = {}) {
  const painter = new Painter(spans, tokens, parts);
  const kept = body.blocks ?? [];
  const blocks = parse(source).map((block, k) => {
    const level = block.tag === "h" ? painter.heading(block.level) : 0;
    const key = [level, block.from, painter.signature(block), source.slice(block.from, block.to)].join("\u0000");
    return kept[k]?.key === key ? kept[k] : { key, element: painter.block(block, level) };
  });
  body.blocks = blocks;
  blocks.forEach(({ element }, k) => {
    if (body.children[k] !== element) body.insertBefore(element, body.children[k] ?? null);
  });
  while (body.children.length > blocks.length) body.lastElementChild.remove();
}

/** Plain text in `body`, with its tokens. */
export function showPlain(body, source, { spans = [], tokens = [], parts = null } = {}) {
  body.replaceChildren(...new Painter(spans, tokens, parts).text(source, 0));
}

class Painter {
  // Headings of an answer stand below that of its turn, and leave out no level.
  #level = 2;

  constructor(spans, tokens, parts) {
    this.spans = spans;
    this.tokens = tokens;
    this.parts = parts;
  }

  heading(level) {
    this.#level = Math.min(level + 2, this.#level + 1);
    return this.#level;
  }

  signature({ from, to }) {
    const first = this.#first(from);
    let last = first;
    while (last < this.spans.length && this.spans[last].from < to) last++;
    return `${first}-${last}-${this.parts >= from && this.parts < to ? this.parts : ""}`;
  }

  /** The first span that ends after `at`. */
  #first(at) {
    let low = 0;
    let high = this.spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.spans[middle].to > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  block(node, level) {
    if (node.tag === "h") return h(`h${level}`, {}, this.all(node));
    if (node.tag === "pre") return this.code(node);
    if (node.tag === "table") return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, this.element(node));
    return this.element(node);
  }

  all(node) {
    return node.children.flatMap((child) => this.any(child));
  }

  any(node) {
    if (node.text !== undefined) return this.text(node.text, node.at);
    return node.tag === "h" ? h(`h${this.heading(node.level)}`, {}, this.all(node)) : this.block(node);
  }

  element(node) {
    if (node.tag === "a") return h("a", { href: node.href, target: "_blank", rel: "noopener noreferrer" }, this.all(node));
    if (!TAGS.has(node.tag)) throw new Error(`no element for ${node.tag}`);
    const attributes = {};
    if (node.tag === "ol" && node.start !== 1) attributes.start = String(node.start);
    if (node.align || node.task) attributes.class = node.align ?? "task";
    return h(node.tag, attributes, this.all(node));
  }

  code(node) {
    const text = () => node.children.map((line) => line.text).join("");
    return h(
      "figure",
      { class: "code" },
      h("figcaption", {}, h("span", {}, node.language || "text"), copyButton("Copy the code", text)),
      h("pre", { tabindex: "0" }, h("code", {}, this.all(node))),
    );
  }

  /** A text that begins at `at` of the source, cut at its tokens. */
  text(text, at) {
    const pieces = [];
    let done = 0;
    for (let k = this.#first(at); k < this.spans.length && this.spans[k].from < at + text.length; k++) {
      const span = this.spans[k];
      const from = Math.max(done, span.from - at);
      const to = Math.min(text.length, span.to - at);
      if (from > done) pieces.push(text.slice(done, from));
      pieces.push(this.token(text.slice(from, to), span));
      done = to;
    }
    if (done < text.length) pieces.push(text.slice(done));
    return pieces;
  }

  token(text, { from, index }) {
    const token = this.tokens[index];
    const kinds = token ? `token s${surprise(token.p)}` : "";
    const parts = this.parts !== null && from === this.parts;
    const attributes = { class: parts ? `${kinds} parts` : kinds, "data-i": token && String(index), tabindex: token && "-1" };
    return parts ? h("mark", attributes, text) : h("span", attributes, text);
  }
}
