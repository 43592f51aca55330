// Elements in one line, and small things that every view does.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element: attributes by name, `on…` as listeners; children are elements or text, never HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon, whose name is read out and shown on hovering. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Tells a screen reader, once. */
export function announce(text) {
  const status = $("status");
  status.textContent = "";
  requestAnimationFrame(() => (status.textContent = text));
}

let toastTimer;

/** A short message at the foot of the page; with an action it stays longer. */
export function toast(text, action) {
  const box = $("toast");
  const hide = () => (box.hidden = true);
  box.replaceChildren(h("span", {}, text));
  if (action) {
    box.append(h("button", { type: "button", onclick: () => (hide(), action.run()) }, action.label));
  }
  box.hidden = false;
  announce(action ? `${text} ${action.label} is at the end of the page.` : text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hide, action ? 12_000 : 4_000);
}

/** Copies, also where the page is not a secure context (plain HTTP from another machine). */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    const focused = document.activeElement;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

/** A button that copies what `text()` gives and says that it did. */
export function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    const copied = await copy(text());
    if (!copied) return toast("The browser did not allow copying. Select the text and copy it.");
    button.replaceChildren(icon("done"));
    announce("Copied.");
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** Grows a text area with its text. */
export function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}
