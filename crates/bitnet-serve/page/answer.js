// One answer: sent, received, timed. It is plain data, so that it can be kept and exported:
//
// { model, text, tokens, start, finish, error, stats }
//
// `tokens` begin to make the text at `start` (what stands before came without probabilities). `finish` is null while it is
// written, then "stop", "length", "stopped" (by the reader) or "error". `stats`: milliseconds to the first token and in all,
// tokens of the prompt (and of them from the cache) and of the answer, tokens per second.

import { ApiError, stream } from "./api.js";
import { readTokens } from "./tokens.js";

/** Settings that are sent where they have a value. */
const SENT = [
  "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "max_tokens",
];
const ALTERNATIVES = 5;
/** Milliseconds below which no speed is told: what waited for the reader arrives at once. */
const SHORTEST = 50;
/** Tokens of a continuation where nothing else is set: a model that was trained on plain text knows no end. */
export const PAD_TOKENS = 200;

export const emptyAnswer = (model) => ({ model, text: "", tokens: [], start: 0, finish: null, error: null, stats: {} });

function common(model, settings) {
  const body = { model };
  for (const name of SENT) if (settings[name] !== undefined) body[name] = settings[name];
  if (settings.stop?.length) body.stop = settings.stop;
  return body;
}

/** The body of a chat's request: `messages` are `{ role, content }`; one that ends with the assistant's is continued. */
export function chatBody(model, messages, settings, probabilities) {
  const body = common(model, settings);
  body.messages = settings.system?.trim() ? [{ role: "system", content: settings.system }, ...messages] : messages;
  if (messages.at(-1)?.role === "assistant") Object.assign(body, { add_generation_prompt: false, continue_final_message: true });
  if (probabilities) Object.assign(body, { logprobs: true, top_logprobs: ALTERNATIVES });
  return body;
}

/** The body of a completion's request. */
export function completionBody(model, prompt, settings, probabilities) {
  const body = common(model, settings);
  body.prompt = prompt;
  body.max_tokens ??= PAD_TOKENS;
  if (probabilities) body.logprobs = ALTERNATIVES;
  return body;
}

/** Tokens a second after the first; none where they came so close together that the time says nothing. */
function speed(tokens, milliseconds) {
  return tokens > 1 && milliseconds >= SHORTEST ? (1000 * (tokens - 1)) / milliseconds : null;
}

/** Streams a request into `answer`, after what it has already, and calls `onChange` as it grows. Never throws. */
export async function receive(path, body, answer, { signal, onChange }) {
  const began = performance.now();
  const before = answer.stats.completion ?? 0;
  let first = null;
  let chunks = 0;
  let usage = null;
  let timings = null;
  let tokens = [];
  const probabilities = Boolean(body.logprobs);
  // Probabilities that belong to nothing or that leave a gap are of no use.
  if (!answer.tokens.length || !probabilities) Object.assign(answer, { tokens: [], start: answer.text.length });
  Object.assign(answer, { finish: null, error: null, stats: { completion: before } });

  const measure = () => {
    const now = performance.now();
    const fresh = usage?.completion_tokens ?? (probabilities ? tokens.length : chunks);
    const spent = now - (first ?? now);
    answer.stats = {
      first: first === null ? null : first - began,
      time: now - began,
      prompt: usage?.prompt_tokens ?? null,
      cached: usage?.prompt_tokens_details?.cached_tokens ?? null,
      completion: before + fresh,
      fresh,
      rate: timings?.predicted_per_second ?? speed(fresh, spent),
    };
  };

  let last = null;
  try {
    for await (const chunk of stream(path, body, signal)) {
      usage = chunk.usage ?? usage;
      timings = chunk.timings ?? timings;
      const choice = chunk.choices?.[0];
      const delta = choice?.delta?.content ?? choice?.text ?? "";
      if (choice?.logprobs) {
        const more = readTokens(choice.logprobs);
        tokens = tokens.concat(more);
        answer.tokens.push(...more);
      }
      if (delta) {
        first ??= performance.now();
        chunks++;
        answer.text += delta;
      }
      if (choice?.finish_reason) answer.finish = choice.finish_reason;
      if (delta || choice?.logprobs) {
        measure();
        last = { ...answer.stats };
        onChange();
      }
    }
    answer.finish ??= "stop";
  } catch (error) {
    if (error.name === "AbortError") {
      answer.finish = "stopped";
    } else {
      const { status, kind, message, parameter, retryAfter } = error instanceof ApiError ? error : new ApiError({ message: String(error) });
      answer.finish = "error";
      answer.error = { status, kind, message, parameter, retryAfter };
    }
  }
  // The time of an answer ends with its last token, not with the end of the stream.
  const spent = last?.time;
  measure();
  if (spent !== undefined) {
    answer.stats.time = spent;
    const writing = spent - answer.stats.first;
    if (!timings) answer.stats.rate = speed(answer.stats.fresh, writing);
  }
  onChange();
}
