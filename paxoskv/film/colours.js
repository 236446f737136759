// Colours: those of the theme, and one for each ballot.

let theme = {};

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "panel", "ink", "soft", "faint", "line", "lane", "hover", "bad", "good", "doubt", "fault", "mono", "sans", "accent"];
  theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  theme.dark = document.documentElement.classList.contains("dark");
}

// A ballot's hue is its node's, so that one sees whose claim it is; its shade is its round's, so that one sees that it
// has changed.
const HUES = [214, 24, 160, 272, 326, 190, 48, 96, 242];
const SHADES = [0, -11, 9];
const SHIFTS = [0, 8, -8];
const colourCache = new Map();

function ballotColour(reel, text) {
  if (!text || text === "-") return theme.faint;
  const name = `${reel.number} ${text} ${theme.dark}`;
  let colour = colourCache.get(name);
  if (colour === undefined) {
    colour = mixedColour(...ownerOf(reel, text));
    colourCache.set(name, colour);
  }
  return colour;
}

// [node, round] of "3.1", "3.1/2", or of a term: "t3".
function ownerOf(reel, text) {
  if (text.startsWith("t")) {
    const term = Number(text.slice(1));
    return [reel.leaders.get(term) ?? 0, term];
  }
  const [round, node] = text.split("/")[0].split(".").map(Number);
  return [node, round];
}

function mixedColour(node, round) {
  if (!node) return theme.soft;
  const variant = round % 3;
  const hue = HUES[(node - 1) % HUES.length] + SHIFTS[variant];
  const light = (theme.dark ? 62 : 43) + SHADES[variant] * (theme.dark ? 1 : 0.8);
  return `hsl(${hue} ${theme.dark ? 62 : 64}% ${light}%)`;
}

function faded(context, alpha, draw) {
  const before = context.globalAlpha;
  context.globalAlpha = before * clamp(alpha, 0, 1);
  draw();
  context.globalAlpha = before;
}
