// Light or dark: as the viewer chose before, else as the system is.

function stored() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // storage is forbidden
  }
}

export function themes(button, changed = () => {}) {
  const root = document.documentElement.dataset;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.theme = stored() ?? (dark ? "dark" : "light");
  button.addEventListener("click", () => {
    root.theme = root.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.theme);
    } catch {
      // It is then forgotten with the page.
    }
    changed();
  });
}
