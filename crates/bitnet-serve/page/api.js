// Requests to the server: its models, its streams, its errors, the key.

import { events } from "./sse.js";

const KEY = "bitnet.key";

/**
 * What went wrong. `status` is 0 where there was no answer, and `kind` says why: `"gone"`, or `"broken"` for a stream without
 * an end; otherwise they are the server's status and `code`.
 */
export class ApiError extends Error {
  constructor({ status = 0, kind = "", message = "", parameter = "", retryAfter = null }) {
    super(message);
    Object.assign(this, { name: "ApiError", status, kind, parameter, retryAfter });
  }
}

function kept(storage) {
  try {
    return storage().getItem(KEY);
  } catch {
    return null;
  }
}

let key = kept(() => sessionStorage) ?? kept(() => localStorage) ?? "";

/** Uses a key from now on: until the tab is closed, or for good. */
export function useKey(value, keep) {
  key = value;
  try {
    localStorage.removeItem(KEY);
    (keep ? localStorage : sessionStorage).setItem(KEY, value);
  } catch {
    // It holds until the page is left.
  }
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  // A header takes Latin-1 only; no other key can be right.
  if (/^[\x21-\x7e]+$/.test(key)) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ kind: "gone", message: error.message });
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  const wait = Number(response.headers.get("retry-after"));
  throw fromBody(text, response.status, wait > 0 ? wait : null);
}

/** An error in OpenAI's form: `{ error: { message, type, param, code } }`. */
function fromBody(text, status, retryAfter = null) {
  let error = null;
  try {
    error = JSON.parse(text).error;
  } catch {
    // Not the server's own words: a proxy's page.
  }
  if (typeof error === "string") error = { message: error };
  return new ApiError({
    status,
    kind: String(error?.code ?? error?.type ?? ""),
    message: String(error?.message ?? `status ${status}`),
    parameter: String(error?.param ?? ""),
    retryAfter,
  });
}

/** The models, `{ id, about }`, with what the server tells of them. */
export async function models() {
  const response = await request("/v1/models");
  const list = await response.json().catch(() => null);
  if (!Array.isArray(list?.data)) throw new ApiError({ status: response.status, message: "no list of models came back" });
  return list.data.map((model) => ({ id: String(model.id), about: about({ ...model, ...model.meta }) }));
}

/** What is known of a model; each may be missing. */
function about(told) {
  const number = (value) => (typeof value === "number" && value > 0 ? value : null);
  return {
    loading: told.status === "loading",
    context: number(told.context_length),
    parameters: number(told.parameters),
    bytes: number(told.weight_bytes),
    ternary: typeof told.ternary === "boolean" ? told.ternary : null,
    template: told.chat_template !== false,
    picojoules: number(told.modelled_energy?.picojoules_per_token),
    energyOf: String(told.modelled_energy?.of ?? ""),
  };
}

/** The chunks of a streamed answer, each as the server sent it. */
export async function* stream(path, body, signal) {
  const options = { stream: true, stream_options: { include_usage: true } };
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ ...body, ...options }),
    signal,
  });
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw fromBody(data, chunk.error.status ?? 500);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError({ kind: "broken", message: error.message });
  }
  throw new ApiError({ kind: "broken", message: "the stream ended without [DONE]" });
}
