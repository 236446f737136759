// Colours, and the painting of lanes at every level of detail.

const MUTED = 0.4;
// Bars narrower than this, in pixels of the screen, are dots of a strip and not shapes of their own.
const BAR_PIXELS_MIN = 10;

// How an outcome looks: as a full bar, an empty one (the store refused), a grey one, or one with an open end.
const LOOK_OK = 0;
const LOOK_REFUSED = 1;
const LOOK_FAILED = 2;
const LOOK_UNKNOWN = 3;
const LOOKS = report.outcome_names.map((name, number) =>
  number === OK ? LOOK_OK : number === FAILED ? LOOK_FAILED : number === UNKNOWN ? LOOK_UNKNOWN : LOOK_REFUSED,
);
// Where several operations share a pixel, what a person would rather see wins.
const RANKS = report.kinds.flatMap((name) => (name === "get" ? [1, 1, 3, 5] : [4, 2, 3, 5]));

function rgbOf(css) {
  const digits = css.trim().slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

// As the Web Content Accessibility Guidelines define it, from 0 to 1.
function luminance(css) {
  const [red, green, blue] = rgbOf(css).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

let theme;

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  theme = { mono: colour("mono") };
  for (const name of ["panel", "ink", "soft", "faint", "line", "lane", "bad", "fault", "failed"]) theme[name] = colour(name);
  theme.kinds = report.kinds.map(colour);
  theme.inkOn = theme.kinds.map((css) => (luminance(css) > 0.23 ? "#0d1014" : "#ffffff"));
  // One colour for each kind and look, as the strips need them: opacity apart.
  theme.dots = new Uint32Array(report.kinds.length * 4);
  report.kinds.forEach((name, kind) => {
    for (let look = 0; look < 4; look += 1) {
      const [red, green, blue] = rgbOf(look === LOOK_FAILED ? theme.failed : theme.kinds[kind]);
      theme.dots[kind * 4 + look] = (blue << 16) | (green << 8) | red;
    }
  });
}

// A strip is a lane's small operations, one pixel for each pixel of the screen that they cross.
class Strip {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.canvas.height = 1;
    this.resize(1);
  }

  resize(width) {
    if (this.width === width) return;
    this.width = width;
    this.canvas.width = width;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.image = this.context.createImageData(width, 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.shades = new Uint8Array(width);
    this.covered = new Float32Array(width);
    this.clear();
  }

  clear() {
    this.low = Infinity;
    this.high = -1;
  }

  // Columns `from` to `to`, excluding it, get an operation that covers `share` of each.
  dot(from, to, shade, share) {
    const begin = from < 0 ? 0 : from;
    const end = to > this.width ? this.width : to;
    if (begin >= end) return;
    if (begin < this.low) this.low = begin;
    if (end > this.high) this.high = end;
    const { covered, shades } = this;
    const rank = RANKS[shade];
    for (let column = begin; column < end; column += 1) {
      if (covered[column] === 0 || RANKS[shades[column]] < rank) shades[column] = shade;
      covered[column] += share;
    }
  }

  // Put it on the other canvas, in pixels of the screen, and begin anew.
  flush(context, x, y, height) {
    if (this.high < 0) return;
    const { low, high, covered, shades, pixels } = this;
    for (let column = low; column < high; column += 1) {
      const share = covered[column];
      if (share === 0) {
        pixels[column] = 0;
        continue;
      }
      const opacity = share >= 1 ? 255 : 130 + 125 * share;
      // Refused operations are paler, as their bars are empty.
      const faded = (shades[column] & 3) === LOOK_REFUSED ? opacity * 0.55 : opacity;
      pixels[column] = ((faded | 0) << 24) | theme.dots[shades[column]];
      covered[column] = 0;
    }
    const width = high - low;
    this.context.putImageData(this.image, 0, 0, low, 0, width, 1);
    context.drawImage(this.canvas, low, 0, width, 1, x + low, y, width, height);
    this.clear();
  }
}

// One operation as a bar.
function paintBar(context, kind, look, x, y, width, height) {
  const colour = look === LOOK_FAILED ? theme.failed : theme.kinds[kind];
  context.fillStyle = colour;
  if (look === LOOK_OK) {
    context.fillRect(x, y, width, height);
    return;
  }
  const opacity = context.globalAlpha;
  context.globalAlpha = opacity * (look === LOOK_UNKNOWN ? 0.55 : 0.22);
  context.fillRect(x, y, width, height);
  context.globalAlpha = opacity;
  if (look === LOOK_UNKNOWN) {
    // A firm beginning, and no end.
    context.fillRect(x, y, 3, height);
    return;
  }
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  if (look === LOOK_FAILED) {
    context.beginPath();
    context.moveTo(x, y + height);
    context.lineTo(x + Math.min(width, height), y);
    context.stroke();
  }
}

function paintTail(context, kind, x, y, width) {
  if (width <= 0) return;
  const fade = context.createLinearGradient(x, 0, x + width, 0);
  const [red, green, blue] = rgbOf(theme.kinds[kind]);
  fade.addColorStop(0, `rgb(${red} ${green} ${blue} / 75%)`);
  fade.addColorStop(1, `rgb(${red} ${green} ${blue} / 12%)`);
  context.fillStyle = fade;
  context.fillRect(x, y - 1, width, 2);
}

function paintBadge(context, text, x, y, accused) {
  context.beginPath();
  context.arc(x, y, 8.5, 0, 2 * Math.PI);
  context.fillStyle = accused ? theme.bad : theme.panel;
  context.fill();
  context.strokeStyle = theme.bad;
  context.lineWidth = 1.5;
  context.stroke();
  context.fillStyle = accused ? theme.panel : theme.bad;
  context.font = `700 11px ${theme.mono}`;
  context.textAlign = "center";
  context.fillText(text, x, y + 0.5);
  context.textAlign = "left";
}
