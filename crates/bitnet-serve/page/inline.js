// What stands within a paragraph: a text to a tree of elements.
//
// A node is `{ tag, children, … }`, or `{ text, at }`: `at` says where the text begins in the source, so that tokens can be
// shown in what was rendered. HTML has no meaning here, it is text. Every step is linear in the text, or bounded.

const MAX_TARGET = 2048;
const MAX_PARENTHESES = 32;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", apos: "'", nbsp: "\u00a0" };
const ENTITY = /&(amp|lt|gt|quot|#39|apos|nbsp);/y;
const BARE_URL = /https?:\/\/[^\s<>"`]+/y;
const ANGLE_URL = /<(https?:\/\/[^\s<>]{1,2048})>/y;
const PLAIN = /[^\\`*_~[\]!<&\nh]+/y;
const WORD = /[\p{L}\p{N}]/u;
const SPACE = /^\s?$/;
const PUNCTUATION = /[\p{P}\p{S}]/u;

/** The address if it is one that a page may link to: http or https, and whole. */
export function safeUrl(address) {
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** The nodes of lines `{ text, at }`; a line's end is a break, as people write in chats. */
export function parseInline(lines) {
  return new Inline(lines).run();
}

class Inline {
  constructor(lines) {
    this.text = lines.map((line) => line.text).join("\n");
    this.starts = [];
    let start = 0;
    for (const line of lines) {
      this.starts.push({ start, at: line.at });
      start += line.text.length + 1;
    }
    this.line = 0;
    this.i = 0;
    this.nodes = [];
    this.brackets = [];
    // For a length of a run of backticks: beyond this index there is none.
    this.noTicks = new Map();
  }

  /** Where an index of the joined lines is in the source; asked in rising order. */
  at(index) {
    while (this.line + 1 < this.starts.length && this.starts[this.line + 1].start <= index) this.line++;
    const { start, at } = this.starts[this.line];
    return at + index - start;
  }

  match(pattern) {
    pattern.lastIndex = this.i;
    return pattern.exec(this.text);
  }

  put(length) {
    this.nodes.push({ text: this.text.slice(this.i, this.i + length), at: this.at(this.i) });
    this.i += length;
  }

  run() {
    while (this.i < this.text.length) this.step();
    return joinTexts(emphasise(this.nodes));
  }

  step() {
    const c = this.text[this.i];
    switch (c) {
      case "\\": return this.escape();
      case "`": return this.code();
      case "*": case "_": case "~": return this.delimiters(c);
      case "!": return this.text[this.i + 1] === "[" ? this.open(2) : this.put(1);
      case "[": return this.open(1);
      case "]": return this.close();
      case "<": return this.angle();
      case "&": return this.entity();
      case "\n": return this.lineBreak();
      case "h": return this.bareUrl();
      default: return this.put(this.match(PLAIN)[0].length);
    }
  }

  escape() {
    const next = this.text[this.i + 1];
    if (next === "\n") {
      this.i++;
    } else if (next !== undefined && ESCAPABLE.test(next)) {
      this.i++;
      this.put(1);
    } else {
      this.put(1);
    }
  }

  code() {
    const { text, i } = this;
    let length = 1;
    while (text[i + length] === "`") length++;
    const end = i >= (this.noTicks.get(length) ?? Infinity) ? -1 : closingTicks(text, i + length, length);
    if (end < 0) {
      this.noTicks.set(length, i);
      return this.put(length);
    }
    let from = i + length;
    let to = end;
    if (to - from > 2 && text[from] === " " && text[to - 1] === " " && text.slice(from, to).trim()) {
      from++;
      to--;
    }
    // A line's end within code is a space.
    const children = [];
    while (from < to) {
      const stop = text.indexOf("\n", from);
      const next = stop < 0 || stop >= to ? to : stop + 1;
      children.push({ text: text.slice(from, next).replace("\n", " "), at: this.at(from) });
      from = next;
    }
    this.nodes.push({ tag: "code", children });
    this.i = end + length;
  }

  delimiters(c) {
    const { text, i } = this;
    let length = 1;
    while (text[i + length] === c) length++;
    const before = text[i - 1] ?? "";
    const after = text[i + length] ?? "";
    const left = !SPACE.test(after) && (!PUNCTUATION.test(after) || SPACE.test(before) || PUNCTUATION.test(before));
    const right = !SPACE.test(before) && (!PUNCTUATION.test(before) || SPACE.test(after) || PUNCTUATION.test(after));
    // Underscores within a word are part of it.
    const opens = c === "_" ? left && (!right || PUNCTUATION.test(before)) : left;
    const closes = c === "_" ? right && (!left || PUNCTUATION.test(after)) : right;
    this.nodes.push({ run: c, text: text.slice(i, i + length), at: this.at(i), opens, closes });
    this.i += length;
  }

  open(length) {
    this.brackets.push(this.nodes.length);
    this.put(length);
  }

  /** `](target "title")` makes a link of what stands since the last `[`. A picture becomes a link to it: nothing is loaded. */
  close() {
    const opener = this.brackets.pop();
    const target = opener === undefined ? null : this.target();
    const href = target && safeUrl(target.address);
    if (!href) return this.put(1);
    const children = joinTexts(emphasise(this.nodes.splice(opener).slice(1))).map(withoutLinks);
    if (!children.length) children.push({ text: target.address, at: this.at(target.from) });
    this.nodes.push({ tag: "a", href, children });
    this.i = target.end;
  }

  target() {
    const { text } = this;
    let i = this.i + 1;
    if (text[i] !== "(") return null;
    i++;
    while (text[i] === " ") i++;
    const angled = text[i] === "<";
    const from = angled ? ++i : i;
    let depth = 0;
    for (; ; i++) {
      const c = text[i];
      if (c === undefined || c === "\n" || i - from > MAX_TARGET || depth > MAX_PARENTHESES) return null;
      if (angled ? c === ">" : c === " " || (c === ")" && depth === 0)) break;
      if (c === "(") depth++;
      if (c === ")") depth--;
    }
    const address = text.slice(from, i);
    if (angled) i++;
    const rest = /\s*(?:"[^"\n]{0,500}"|'[^'\n]{0,500}')?\s{0,9}\)/y;
    rest.lastIndex = i;
    return rest.test(text) ? { address, from, end: rest.lastIndex } : null;
  }

  angle() {
    const found = this.match(ANGLE_URL);
    const href = found && safeUrl(found[1]);
    if (!href) return this.put(1);
    this.nodes.push({ tag: "a", href, children: [{ text: found[1], at: this.at(this.i + 1) }] });
    this.i += found[0].length;
  }

  bareUrl() {
    const found = WORD.test(this.text[this.i - 1] ?? "") ? null : this.match(BARE_URL);
    if (!found) {
      PLAIN.lastIndex = this.i + 1;
      const more = PLAIN.exec(this.text);
      return this.put(1 + (more ? more[0].length : 0));
    }
    const address = withoutSentence(found[0].slice(0, MAX_TARGET));
    const href = safeUrl(address);
    if (!href) return this.put(1);
    this.nodes.push({ tag: "a", href, children: [{ text: address, at: this.at(this.i) }] });
    this.i += address.length;
  }

  entity() {
    const found = this.match(ENTITY);
    if (!found) return this.put(1);
    this.nodes.push({ text: ENTITIES[found[1]], at: this.at(this.i), apart: true });
    this.i += found[0].length;
  }

  lineBreak() {
    const last = this.nodes.at(-1);
    if (last && last.text !== undefined && !last.run) last.text = last.text.trimEnd();
    this.nodes.push({ tag: "br", children: [] });
    this.i++;
  }
}

/** An address without emphasis around it and without the punctuation of the sentence that it stands in. */
function withoutSentence(address) {
  const parentheses = (c) => address.split(c).length;
  for (;;) {
    if (/[.,;:!?'"*_~\]]$/.test(address)) address = address.slice(0, -1);
    else if (address.endsWith(")") && parentheses(")") > parentheses("(")) address = address.slice(0, -1);
    else return address;
  }
}

function closingTicks(text, from, length) {
  for (let i = text.indexOf("`", from); i >= 0; i = text.indexOf("`", i)) {
    let end = i;
    while (text[end] === "`") end++;
    if (end - i === length) return i;
    i = end;
  }
  return -1;
}

/** A link holds no link. */
function withoutLinks(node) {
  if (node.text !== undefined) return node;
  const children = node.children.map(withoutLinks);
  return { ...node, tag: node.tag === "a" ? "span" : node.tag, href: undefined, children };
}

/** Pairs runs of `*`, `_` and `~~` as CommonMark does: the nearest opener that fits; runs left over are text. */
function emphasise(nodes) {
  const output = [];
  // Openers that wait, as indices of `output`, for each kind of run.
  const open = { "*": [], _: [], "~": [] };
  for (const node of nodes) {
    if (!node.run) {
      output.push(node);
      continue;
    }
    let { text, at } = node;
    while (node.closes && text) {
      const index = opener(open[node.run], output, node, text);
      if (index < 0) break;
      const start = output[index];
      const length = node.run === "~" ? text.length : start.text.length > 1 && text.length > 1 ? 2 : 1;
      const children = joinTexts(output.splice(index + 1));
      for (const kind of Object.values(open)) while (kind.length && kind.at(-1) > index) kind.pop();
      output.push({ tag: node.run === "~" ? "del" : length === 2 ? "strong" : "em", children });
      text = text.slice(length);
      at += length;
      start.text = start.text.slice(0, start.text.length - length);
      if (!start.text) {
        output.splice(index, 1);
        open[node.run].pop();
      }
    }
    if (!text) continue;
    if (node.opens) open[node.run].push(output.length);
    output.push({ ...node, text, at });
  }
  return output;
}

/** The last opener that `closer` may close. What is skipped here stays open for other lengths; eight are looked at. */
function opener(open, output, closer, text) {
  for (let k = open.length - 1; k >= Math.max(0, open.length - 8); k--) {
    const start = output[open[k]];
    const fits = closer.run === "~"
      ? start.text.length === text.length && text.length <= 2
      : !((start.closes || closer.opens) && (start.text.length + text.length) % 3 === 0
        && (start.text.length % 3 !== 0 || text.length % 3 !== 0));
    if (fits) {
      open.length = k + 1;
      return open[k];
    }
  }
  return -1;
}

/** Texts that are neighbours in the source in one node, and no empty ones. An entity's text is not the source's. */
function joinTexts(nodes) {
  const joined = [];
  for (const { text, at, apart, ...node } of nodes) {
    if (text === undefined) {
      joined.push(node);
    } else if (text) {
      const last = joined.at(-1);
      const follows = last?.text !== undefined && last.at + last.text.length === at && !apart && !last.apart;
      if (follows) last.text += text;
      else joined.push(apart ? { text, at, apart } : { text, at });
    }
  }
  return joined;
}
