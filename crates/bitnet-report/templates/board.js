// Asks for what changed, as long as the page is looked at.
const part = document.getElementById("part"), state = document.getElementById("state");
let tag = "";
async function refresh() {
  try {
    const answer = await fetch("part", { headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag") || "";
      const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
      const scrolled = [...part.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
      part.innerHTML = await answer.text();
      open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      part.querySelectorAll(".scroll").forEach((table, at) => (table.scrollLeft = scrolled[at] || 0));
    } else if (answer.status !== 304) throw new Error(answer.status);
    state.textContent = "live";
    state.className = "";
  } catch {
    state.textContent = "the server is gone";
    state.className = "lost";
  }
}
setInterval(() => document.hidden || refresh(), 2000);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
