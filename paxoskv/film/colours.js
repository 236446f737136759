// Colours: those of the theme, and one for each ballot.

let theme = {};

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "panel", "ink", "soft", "faint", "line", "lane", "hover", "bad", "good", "doubt", "fault", "mono", "sans", "accent"];
  theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  theme.dark = isDark();
}

// A ballot's hue is its node's, so that one sees whose claim it is; its shade is its round's, so that one sees that it
// has changed. In OKLCH, where equal steps look equal.
const HUES = [256, 48, 155, 305, 5, 205, 85, 125, 280];
const SHADES = [0, -0.075, 0.06];
const SHIFTS = [0, 12, -12];
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
  return `oklch(${(theme.dark ? 0.73 : 0.54) + SHADES[variant]} ${theme.dark ? 0.125 : 0.145} ${hue})`;
}

function faded(context, alpha, draw) {
  const before = context.globalAlpha;
  context.globalAlpha = before * clamp(alpha, 0, 1);
  draw();
  context.globalAlpha = before;
}
