// Markdown: what becomes of it, that nothing hostile gets through, and that no text takes long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "../../page/markdown.js";
import { safeUrl } from "../../page/inline.js";

/** A tree in one line: `p(a em(b))`. */
function tree(node) {
  if (Array.isArray(node)) return node.map(tree).join(" ");
  if (node.text !== undefined) return JSON.stringify(node.text);
  const more = [node.level, node.language, node.start, node.align, node.href].filter((value) => value !== undefined && value !== "");
  return `${node.tag}${more.length ? `[${more}]` : ""}(${tree(node.children)})`;
}

const CASES = [
  ["# One *two*", 'h[1]("One " em("two"))'],
  ["####### seven", 'p("####### seven")'],
  ["## closed ##", 'h[2]("closed")'],
  ["a **b** _c_ d_e_f", 'p("a " strong("b") " " em("c") " d_e_f")'],
  ["***both*** ~~no~~", 'p(em(strong("both")) " " del("no"))'],
  ["**a *b* c** *a **b** c*", 'p(strong("a " em("b") " c") " " em("a " strong("b") " c"))'],
  ["2 * 3 * 4 and **open", 'p("2 * 3 * 4 and **open")'],
  ["`` a`b `` and ` c", 'p(code("a`b") " and ` c")'],
  ["one\ntwo  \nthree", 'p("one" br() "two" br() "three")'],
  ["- a\n- b\n  - c\n\n1. x\n2. y", 'ul(li("a") li("b" ul(li("c")))) ol[1](li("x") li("y"))'],
  ["3) a\n4) b", 'ol[3](li("a") li("b"))'],
  ["- a\n\n- b", 'ul(li(p("a")) li(p("b")))'],
  ["1. a\n  - b\n2. c", 'ol[1](li("a" ul(li("b"))) li("c"))'],
  ["- [x] done\n- [ ] open", 'ul(li("☑ " "done") li("☐ " "open"))'],
  ["> a\nb\n> - c\n\nd", 'blockquote(p("a" br() "b") ul(li("c"))) p("d")'],
  ["```js x\n a\n```\nb", 'pre[js](" a\\n") p("b")'],
  ["```\nopen", 'pre("open\\n")'],
  ["  ~~~\n  a\n ~~~", 'pre("a\\n")'],
  ["a\n\n---\n***", 'p("a") hr() hr()'],
  ["| a | b |\n|---|--:|\n| 1 | `x|y` |\n| 2 |", 'table(thead(tr(th("a") th[right]("b"))) tbody(tr(td("1") td[right](code("x|y"))) tr(td("2") td[right]())))'],
  ["a | b\nno table", 'p("a | b" br() "no table")'],
  ["[a](https://b.c/d \"t\")", 'p(a[https://b.c/d]("a"))'],
  ["[a](<https://b.c/d e>)", 'p(a[https://b.c/d%20e]("a"))'],
  ["![p](https://b.c/d.png)", 'p(a[https://b.c/d.png]("p"))'],
  ["see https://b.c/d_e_(f)). And", 'p("see " a[https://b.c/d_e_(f)]("https://b.c/d_e_(f)") "). And")'],
  ["<https://b.c> <b>", 'p(a[https://b.c/]("https://b.c") " <b>")'],
  ["[a [b](https://c.d) e](https://f.g)", 'p(a[https://f.g]("a " span("b") " e"))'],
  ["\\*a\\* &lt;b&gt; &copy;", 'p("*a" "*" " " "<" "b" ">" " &copy;")'],
  ["\r\na\r\nb\r\n", 'p("a" br() "b")'],
  ["", ""],
];

test("Markdown as models write it", () => {
  for (const [source, expected] of CASES) {
    // How neighbouring texts are cut does not show.
    const joined = (text) => text.replaceAll('" "', "").replaceAll('f.g/', "f.g");
    assert.equal(joined(tree(parse(source))), joined(expected), source);
  }
});

test("only http and https may be linked to", () => {
  for (const address of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc", "//a.b", "/a", "a", "", "blob:a", "https://"]) {
    assert.equal(safeUrl(address), null, address);
    assert.ok(!tree(parse(`[x](${address}) [x](<${address}>) ![x](${address}) <${address}>`)).includes("a["), address);
  }
  assert.equal(safeUrl("https://a.b/<script>\"'"), "https://a.b/%3Cscript%3E%22'");
});

const TAGS = new Set("p h ul ol li blockquote hr em strong del code br span a pre table thead tbody tr th td".split(" "));
const ENTITY = /^&(amp|lt|gt|quot|#39|apos|nbsp);/;

/** Nothing beside known tags and checked addresses; every text is where it says, and in order. */
function check(nodes, source, before = -1) {
  for (const node of nodes) {
    if (node.text !== undefined) {
      assert.ok(node.at >= before, "out of order");
      before = node.at;
      const same = source.startsWith(node.text.replace(/[\n ]$/, ""), node.at) || ENTITY.test(source.slice(node.at)) || /^[☐☑] $/.test(node.text);
      assert.ok(same, JSON.stringify([node, source]));
    } else {
      assert.ok(TAGS.has(node.tag), node.tag);
      assert.match(node.language ?? "", /^[\w+#.-]*$/);
      if (node.tag === "a") assert.match(node.href, /^https?:\/\//);
      const known = ["tag", "children", "from", "to", "level", "language", "start", "align", "href", "task"];
      assert.deepEqual(Object.keys(node).filter((key) => !known.includes(key)), []);
      before = check(node.children, source, before);
    }
  }
  return before;
}

const PIECES = ["<script>", "</script>", "<img src=x onerror=a>", "*", "**", "_", "~~", "`", "```", "\n", "\n\n", "# ", "- ", "  ", "    ", "> ", "1. ",
  "|", "|-|-|", "[", "]", "](", "(", ")", "javascript:a", "https://a.b", "<", ">", "&lt;", "&", "\\", "!", "\"", "a", "é", "😀", "\u0000", "\u2028", "[ ] ", "\t", "\r\n"];

test("random texts give known tags, in order", () => {
  let state = 12345;
  const random = (n) => (state = (state * 48271) % 2147483647) % n;
  for (let i = 0; i < 20_000; i++) {
    let source = "";
    for (let k = random(24); k >= 0; k--) source += PIECES[random(PIECES.length)];
    check(parse(source), source);
  }
});

test("every beginning of a text is a text", () => {
  const source = CASES.map(([text]) => text).join("\n\n");
  for (let i = 0; i <= source.length; i++) check(parse(source.slice(0, i)), source.slice(0, i));
});

test("no text takes long", () => {
  const size = 60_000;
  for (const piece of [...PIECES, "[a](", "[a](<b", "*a", "*a*", "_a**", "~~a", "```a", "`a", "![](", "> - ", "  - ", "a|", "&lt", "http://a)", "<http://a", "[a]((", "***a** "]) {
    for (const text of [piece, `${piece}\n`]) {
      const source = text.repeat(size / text.length);
      const began = performance.now();
      parse(source);
      const took = performance.now() - began;
      // Quadratic would be minutes; the bound leaves room for a busy machine.
      assert.ok(took < 3000, `${JSON.stringify(text)} took ${Math.round(took)} ms`);
    }
  }
});
