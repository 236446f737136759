// What every page of ours is made with: elements, a line for trouble, and the theme.

const byId = (id) => document.getElementById(id);

function make(tag, fields = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function trouble(text) {
  byId("trouble").hidden = false;
  byId("trouble").textContent = text;
}

const system = window.matchMedia("(prefers-color-scheme: dark)");

// "dark" or "light", if somebody has chosen.
function remembered() {
  try {
    return localStorage.getItem("paxoskv-theme");
  } catch {
    return null; // Pages from files may not be allowed to remember.
  }
}

function remember(dark) {
  try {
    localStorage.setItem("paxoskv-theme", dark ? "dark" : "light");
  } catch {
    // As above.
  }
}

const isDark = () => document.documentElement.classList.contains("dark");

function wear(dark) {
  document.documentElement.classList.toggle("dark", dark);
  byId("theme").textContent = dark ? "Light" : "Dark";
}
