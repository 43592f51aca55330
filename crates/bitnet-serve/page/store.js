// Conversations in the browser's database. Where there is none (some private windows) they last as long as the page.

const DATABASE = "bitnet";
const TABLE = "conversations";

let database = null;
const memory = new Map();
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(DATABASE);

/** Opens the database; tells whether conversations will be kept. `onChange(id)` hears of other tabs. */
export async function open(onChange) {
  if (channel) channel.onmessage = ({ data }) => onChange(data);
  database = await new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return database !== null;
}

function run(mode, work) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(TABLE, mode);
    const request = work(transaction.objectStore(TABLE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** All conversations, the one changed last first. */
export async function all() {
  const found = database ? await run("readonly", (table) => table.getAll()) : [...memory.values()];
  return found.sort((a, b) => b.changed - a.changed);
}

export async function get(id) {
  return database ? run("readonly", (table) => table.get(id)) : memory.get(id);
}

export async function put(conversation) {
  const copy = structuredClone(conversation);
  if (database) await run("readwrite", (table) => table.put(copy));
  else memory.set(copy.id, copy);
  channel?.postMessage(copy.id);
}

export async function remove(id) {
  if (database) await run("readwrite", (table) => table.delete(id));
  else memory.delete(id);
  channel?.postMessage(id);
}
