// Tokens of an answer with their probabilities: from the server's form to ours, and where they stand in a text.
//
// A token is `{ t, n, p, top }`: its text, its length in bytes, the natural logarithm of its probability, and the likeliest
// tokens in its place as `[text, logarithm]`.

const encoder = new TextEncoder();
const LOWEST = -100;

const logarithm = (value) => (Number.isFinite(value) ? Math.max(LOWEST, Math.min(0, value)) : LOWEST);

/** Bytes of a token's text; those that are no text are written out. */
function length(text) {
  const written = /^bytes:((?:\\x[0-9a-f]{2})+)$/.exec(text);
  return written ? written[1].length / 4 : encoder.encode(text).length;
}

/** `logprobs` of a choice, as chats have it (`content`) or as completions had it at first (`tokens`). */
export function readTokens(logprobs) {
  if (Array.isArray(logprobs?.content)) {
    return logprobs.content.map(({ token, logprob, bytes, top_logprobs }) => ({
      t: String(token),
      n: Array.isArray(bytes) ? bytes.length : length(String(token)),
      p: logarithm(logprob),
      top: (top_logprobs ?? []).map((other) => [String(other.token), logarithm(other.logprob)]),
    }));
  }
  return (logprobs?.tokens ?? []).map((token, i) => ({
    t: String(token),
    n: length(String(token)),
    p: logarithm(logprobs.token_logprobs?.[i]),
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {})
      .map(([text, value]) => [text, logarithm(value)])
      .sort((a, b) => b[1] - a[1]),
  }));
}

/**
 * Where tokens stand in `text`, which they begin to make at `start`: `{ from, to, index }` in UTF-16 units. A character made
 * of several tokens belongs to the first of them.
 */
export function place(tokens, text, start = 0) {
  const ends = characterEnds(text.slice(start));
  const total = tokens.reduce((sum, token) => sum + token.n, 0);
  // A decoder may leave out the space that the first token begins with.
  const shift = tokens[0]?.t.startsWith(" ") && text[start] !== " " ? 1 : 0;
  const at = (byte) => start + ends[Math.max(0, Math.min(byte, ends.length - 1))];
  const placed = [];
  let byte = -Math.min(shift, total);
  tokens.forEach(({ n }, index) => {
    const from = at(byte);
    byte += n;
    const to = at(byte);
    if (to > from) placed.push({ from, to, index });
  });
  return placed;
}

/** For each number of bytes, the number of UTF-16 units that it ends in or after. */
function characterEnds(text) {
  const ends = [0];
  let units = 0;
  for (const character of text) {
    units += character.length;
    const code = character.codePointAt(0);
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let k = 0; k < size; k++) ends.push(units);
  }
  return ends;
}

/**
 * Where two texts part, as an index of both, or `null`: they do not, or not yet. `ended` says that neither will go on, so that
 * one which goes further than the other parts from it.
 */
export function parting(a, b, ended) {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    if (a[i] !== b[i]) return i > 0 && /[\udc00-\udfff]/.test(a[i]) ? i - 1 : i;
  }
  return ended && a.length !== b.length ? shorter : null;
}

/** The part of a text that is marked at `index`: the token there, or else the word. `null` past the end. */
export function markAt(index, text, placed) {
  if (index >= text.length) return null;
  const token = placed.find(({ from, to }) => from <= index && index < to);
  if (token) return token;
  const word = /^\s*\S+/.exec(text.slice(index));
  return { from: index, to: index + (word?.[0].length ?? 1), index: -1 };
}

/** How likely, from 0 (certain) to 4 (a surprise). */
export function surprise(logprob) {
  const probability = Math.exp(logprob);
  return [0.8, 0.5, 0.2, 0.05].filter((limit) => probability < limit).length;
}

/** A token's text with what does not show. */
export const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "∅";
