// What went wrong, and the remedy, in words.

import { count, plural } from "./format.js";

/** The `remedy` is `"again"`, `"continue"`, `"key"`, `"new"`, `"settings"`, or nothing; `begun`: there is some of the answer. */
export function explain(error, model, begun) {
  const { status, kind, message, parameter } = error;
  const said = sentence(message);
  if (kind === "gone") {
    return {
      title: "The server does not answer.",
      text: "It was stopped, or the network is down. Start it with “bitnet serve”, then try again; nothing that was written is lost.",
      remedy: "again",
    };
  }
  if (kind === "broken") {
    return {
      title: "The answer broke off.",
      text: `The connection to the server ended in the middle of it.${begun ? " What came so far is kept." : ""}`,
      remedy: begun ? "continue" : "again",
    };
  }
  if (status === 401 || status === 403) {
    return { title: "The server asks for a key.", text: said, remedy: "key" };
  }
  if (kind === "context_length_exceeded") {
    const room = model?.about.context ? ` of ${plural(model.about.context, "token")}` : "";
    return {
      title: "The conversation does not fit the model’s context.",
      text: `${said} Shorten a turn or the system prompt, or begin a new conversation: the context${room} has to hold all of it.`,
      remedy: "new",
    };
  }
  if (status === 404) {
    return { title: "The server does not have this model.", text: `${said} Choose another one above.`, remedy: null };
  }
  if (status === 413) {
    return { title: "The message is too long for the server.", text: `${said} Shorten it.`, remedy: null };
  }
  if (status === 429 || (status === 503 && !isLoading(error))) {
    const wait = error.retryAfter ? ` in ${plural(error.retryAfter, "second")}` : " in a moment";
    return { title: "The server is busy.", text: `${said} Try again${wait}.`, remedy: "again" };
  }
  if (status === 503) {
    return { title: "The model is being loaded.", text: "This takes a moment; the page goes on by itself.", remedy: "again" };
  }
  if (status >= 400 && status < 500) {
    const field = parameter ? ` (${parameter})` : "";
    return { title: "The server refused this.", text: `${said}${field}`, remedy: parameter ? "settings" : null };
  }
  return { title: "The server could not go on.", text: said || `It answered with status ${count(status)}.`, remedy: "again" };
}

/** Whether the server will be ready by itself. */
export const isLoading = ({ status, kind, message }) => status === 503 && /loading/i.test(`${kind} ${message}`);

/** A message as a sentence of its own. */
function sentence(message) {
  const text = message.trim();
  if (!text) return "";
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
