// What a model wrote in a pad: parts of its text, which move as the text is edited.

/** Marks after the text changed from `before` to `after`: shifted, cut where it was changed, never wrong. */
export function shiftMarks(marks, before, after) {
  let start = 0;
  const shorter = Math.min(before.length, after.length);
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < shorter - start && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const end = before.length - tail;
  const by = after.length - before.length;
  return marks.flatMap((mark) => {
    if (mark.to <= start) return [mark];
    if (mark.from >= end) return [{ ...mark, from: mark.from + by, to: mark.to + by }];
    const head = { ...mark, to: start };
    const rest = { from: end + by, to: mark.to + by, tokens: [], model: mark.model };
    return [head, rest].filter(({ from, to }) => from < to);
  });
}
