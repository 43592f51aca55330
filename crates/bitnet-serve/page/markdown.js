// Markdown to a tree: headings, paragraphs, lists, quotations, tables, code, rules.
//
// A block is `{ tag, children, from, to }`, and further fields for lists and code; `from` and `to` say where it stands in the
// source. What a model writes is untrusted: there is no way to an element or an attribute beside those named here.

import { parseInline } from "./inline.js";

const MAX_DEPTH = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-+*]|\d{1,9}[.)])(?:( +)|$)/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** The blocks of a text. */
export function parse(source) {
  const lines = [];
  let at = 0;
  for (const text of source.split("\n")) {
    lines.push({ text: text.endsWith("\r") ? text.slice(0, -1) : text, at });
    at += text.length + 1;
  }
  return parseBlocks(lines, 0);
}

const isBlank = (line) => !line.text.trim();
const indent = (line) => line.text.length - line.text.trimStart().length;
const cut = (line, n) => ({ text: line.text.slice(n), at: line.at + n });
const end = (line) => line.at + line.text.length;

function parseBlocks(lines, depth) {
  const blocks = [];
  let i = 0;
  while (i < lines.length) {
    if (isBlank(lines[i])) {
      i++;
      continue;
    }
    const kind = BLOCKS.find((kind) => kind.starts(lines, i, depth)) ?? PARAGRAPH;
    const { next, ...block } = kind.read(lines, i, depth);
    blocks.push({ ...block, from: lines[i].at, to: end(lines[next - 1]) });
    i = next;
  }
  return blocks;
}

const fenced = {
  starts: (lines, i) => isFence(lines[i]),
  read(lines, i) {
    const [, fence, info] = FENCE.exec(lines[i].text);
    const margin = indent(lines[i]);
    const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}[ \t]*$`);
    const children = [];
    let next = i + 1;
    for (; next < lines.length && !closing.test(lines[next].text); next++) {
      const line = cut(lines[next], Math.min(margin, indent(lines[next])));
      children.push({ text: `${line.text}\n`, at: line.at });
    }
    const language = /^[\w+#.-]{1,30}/.exec(info.trim())?.[0] ?? "";
    return { tag: "pre", language, children, next: Math.min(next + 1, lines.length) };
  },
};

function isFence(line) {
  const found = FENCE.exec(line.text);
  return found !== null && !(found[1][0] === "`" && found[2].includes("`"));
}

const heading = {
  starts: (lines, i) => HEADING.test(lines[i].text),
  read(lines, i) {
    const [whole, marks, title = ""] = HEADING.exec(lines[i].text);
    const start = title ? whole.indexOf(title, whole.indexOf(marks) + marks.length) : 0;
    const children = parseInline([{ text: title, at: lines[i].at + start }]);
    return { tag: "h", level: marks.length, children, next: i + 1 };
  },
};

const rule = {
  starts: (lines, i) => RULE.test(lines[i].text),
  read: (_, i) => ({ tag: "hr", children: [], next: i + 1 }),
};

const quote = {
  starts: (lines, i, depth) => depth < MAX_DEPTH && QUOTE.test(lines[i].text),
  read(lines, i, depth) {
    const inner = [];
    let next = i;
    for (; next < lines.length; next++) {
      const mark = QUOTE.exec(lines[next].text);
      // A paragraph goes on without its mark.
      if (!mark && (isBlank(lines[next]) || isBlank(inner.at(-1)) || interrupts(lines, next, depth))) break;
      inner.push(cut(lines[next], mark ? mark[0].length : 0));
    }
    return { tag: "blockquote", children: parseBlocks(inner, depth + 1), next };
  },
};

const list = {
  starts: (lines, i, depth) => depth < MAX_DEPTH && ITEM.test(lines[i].text) && indent(lines[i]) < 4,
  read(lines, i, depth) {
    const first = ITEM.exec(lines[i].text);
    const kind = first[2].at(-1);
    const ordered = kind === "." || kind === ")";
    const items = [];
    let loose = false;
    let next = i;
    while (next < lines.length) {
      const found = ITEM.exec(lines[next].text);
      if (!found || found[2].at(-1) !== kind || found[1].length > first[1].length + 1 || RULE.test(lines[next].text)) break;
      const item = readItem(lines, next, found);
      // A blank line between two items, or between two paragraphs of one.
      const follows = item.next < lines.length && ITEM.exec(lines[item.next].text)?.[2].at(-1) === kind;
      loose ||= item.parted || (item.ended && follows);
      items.push({ tag: "li", lines: item.lines });
      next = item.next;
    }
    const children = items.map(({ tag, lines }) => listItem(tag, lines, loose, depth));
    return { tag: ordered ? "ol" : "ul", start: ordered ? Number.parseInt(first[2], 10) : undefined, children, next };
  },
};

/** The lines of an item without its margin, and where the next begins. Models indent less than CommonMark asks. */
function readItem(lines, i, [mark, margin, bullet, gap]) {
  const width = margin.length + bullet.length + (gap === undefined || gap.length > 4 ? 1 : gap.length);
  const inner = [cut(lines[i], Math.min(width, lines[i].text.length))];
  let blank = false;
  let next = i + 1;
  for (; next < lines.length; next++) {
    const line = lines[next];
    const depth = indent(line);
    if (isBlank(line)) {
      blank = true;
    } else if (depth >= width || (depth >= margin.length + 2 && ITEM.test(line.text))) {
      blank = false;
    } else if (blank || ITEM.test(line.text) || interrupts(lines, next, 0)) {
      break;
    }
    inner.push(cut(line, Math.min(depth, width)));
  }
  // Whether its own paragraphs stand apart, and whether a blank line ends it.
  const parted = !blank && inner.some((line, k) => isBlank(line) && indent(inner[k + 1] ?? line) === 0 && k > 0);
  return { lines: inner, parted, ended: blank, next };
}

function listItem(tag, lines, loose, depth) {
  const task = /^\[([ xX])\] +/.exec(lines[0].text);
  const inner = task ? [cut(lines[0], task[0].length), ...lines.slice(1)] : lines;
  let children = parseBlocks(inner, depth + 1);
  if (!loose) children = children.flatMap((block) => (block.tag === "p" ? block.children : [block]));
  if (!task) return { tag, children };
  return { tag, task: true, children: [{ text: task[1] === " " ? "☐ " : "☑ ", at: lines[0].at, apart: true }, ...children] };
}

const table = {
  starts: (lines, i) =>
    lines[i].text.includes("|") && i + 1 < lines.length && TABLE_RULE.test(lines[i + 1].text) &&
    lines[i + 1].text.includes("-") && cells(lines[i]).length === cells(lines[i + 1]).length,
  read(lines, i) {
    const align = cells(lines[i + 1]).map(({ text }) =>
      text.endsWith(":") ? (text.startsWith(":") ? "center" : "right") : undefined);
    const row = (line, tag) => {
      const found = cells(line);
      const children = align.map((side, column) => {
        const children = found[column] ? parseInline([found[column]]) : [];
        // A corner that is empty heads nothing.
        return { tag: children.length ? tag : "td", align: side, children };
      });
      return { tag: "tr", children };
    };
    let next = i + 2;
    while (next < lines.length && !isBlank(lines[next]) && lines[next].text.includes("|")) next++;
    const rows = lines.slice(i + 2, next).map((line) => row(line, "td"));
    const head = { tag: "thead", children: [row(lines[i], "th")] };
    return { tag: "table", children: [head, { tag: "tbody", children: rows }], next };
  },
};

/** The cells of a row, trimmed; `\|` and a bar in code are no border. */
function cells(line) {
  const found = [];
  let start = 0;
  let code = false;
  const { text } = line;
  for (let i = 0; i <= text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`") code = !code && text.indexOf("`", i + 1) > 0;
    else if (i === text.length || (text[i] === "|" && !code)) {
      found.push(cut({ text: text.slice(0, i), at: line.at }, start));
      start = i + 1;
    }
  }
  if (start < text.length && found.length && start > 0 && found.at(-1).at + found.at(-1).text.length < end(line)) {
    found.push(cut(line, start));
  }
  if (found.length && isBlank(found[0])) found.shift();
  if (found.length && isBlank(found.at(-1))) found.pop();
  return found.map((cell) => {
    const trimmed = cut(cell, indent(cell));
    return { text: trimmed.text.trimEnd(), at: trimmed.at };
  });
}

const BLOCKS = [fenced, heading, rule, quote, list, table];

/** Whether a line begins a block of its own right after a paragraph's line. */
function interrupts(lines, i, depth) {
  const item = ITEM.exec(lines[i].text);
  const isItem = item && item[3] && indent(lines[i]) < 4 && (/[-+*]/.test(item[2]) || item[2].length < 4);
  return isItem || [fenced, heading, rule, quote, table].some((kind) => kind.starts(lines, i, depth));
}

const PARAGRAPH = {
  read(lines, i, depth) {
    let next = i + 1;
    while (next < lines.length && !isBlank(lines[next]) && !interrupts(lines, next, depth)) next++;
    const own = lines.slice(i, next).map((line) => cut(line, indent(line)));
    return { tag: "p", children: parseInline(own), next };
  },
};
