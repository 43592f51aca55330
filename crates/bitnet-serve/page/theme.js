// Runs before the first paint, so that a page opens in its reader's colours.
try {
  const theme = localStorage.getItem("bitnet.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing shows the system's colours.
}
