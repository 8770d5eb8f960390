// A classic script in the head: the colours are chosen before the first paint.
const THEME_KEY = "drayage-theme";

/** @param {string} theme `auto`, `light` or `dark` */
function useTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** A browser may refuse its storage: then the choice lasts as long as the page. */
function storedTheme() {
  try {
    return localStorage.getItem(THEME_KEY) ?? "auto";
  } catch {
    return "auto";
  }
}

useTheme(storedTheme());
document.addEventListener("DOMContentLoaded", () => {
  const choice = /** @type {HTMLSelectElement} */ (document.getElementById("theme"));
  choice.value = storedTheme();
  choice.addEventListener("change", () => {
    useTheme(choice.value);
    try {
      localStorage.setItem(THEME_KEY, choice.value);
    } catch {}
  });
});
