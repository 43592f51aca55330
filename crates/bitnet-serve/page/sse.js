// Server-sent events from a stream of bytes.

/** Takes text in pieces of any length; gives the data of each event that is complete. */
export class EventParser {
  #line = "";
  #data = null;
  #afterReturn = false;

  /** The data of the events that end within `text`, in order. */
  push(text) {
    const events = [];
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== "\n" && c !== "\r") {
        this.#afterReturn = false;
        continue;
      }
      // A line ends in \n, \r or \r\n, the last also where a piece ends between the two.
      if (c === "\n" && this.#afterReturn) {
        this.#afterReturn = false;
        from = i + 1;
        continue;
      }
      this.#afterReturn = c === "\r";
      const event = this.#take(this.#line + text.slice(from, i));
      this.#line = "";
      from = i + 1;
      if (event !== null) events.push(event);
    }
    this.#line += text.slice(from);
    return events;
  }

  #take(line) {
    if (line === "") {
      const event = this.#data;
      this.#data = null;
      return event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field === "data") {
      let value = colon < 0 ? "" : line.slice(colon + 1);
      if (value.startsWith(" ")) value = value.slice(1);
      this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    }
    return null;
  }
}

/** The data of each event of a response's body, until it ends. */
export async function* events(body) {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Whoever stops listening stops the answer.
    reader.cancel().catch(() => {});
  }
}
