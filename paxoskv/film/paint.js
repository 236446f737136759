// Painting a stage at one moment. All that is painted follows from the position and the moment, so the same moment
// looks the same however one got there.

const RECENT_MAX = 700;
const widths = new Map();

function widthOf(context, text) {
  const name = `${context.font} ${text}`;
  let width = widths.get(name);
  if (width === undefined) {
    if (widths.size > 5000) widths.clear();
    width = context.measureText(text).width;
    widths.set(name, width);
  }
  return width;
}

function fitted(context, text, width) {
  if (widthOf(context, text) <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(context, `${text.slice(0, middle)}…`) <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}

function rounded(context, x, y, width, height, radius) {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(radius, height / 2));
}

const smooth = (share) => share * share * (3 - 2 * share);

// Everything about one moment that painting asks for more than once.
class Moment {
  constructor(stage, position, film) {
    this.stage = stage;
    this.reel = stage.reel;
    this.clock = stage.clock;
    this.position = position;
    this.film = film;
    this.faults = this.reel.faults.at(position);
    this.recent = [];
    const window = this.clock.typical * 2.4;
    for (let index = position - 1; index >= 0 && position - index <= RECENT_MAX; index -= 1) {
      if (film - this.filmAt(index) > window) break;
      this.recent.push(index);
    }
  }

  filmAt(index) {
    return this.clock.filmOf(this.reel.times[index]);
  }

  // How long ago, in typical flights.
  age(index) {
    return (this.film - this.filmAt(index)) / this.clock.typical;
  }

  life(node) {
    return this.reel.lives.get(node).at(this.position);
  }

  isUp(node) {
    const life = this.life(node);
    // A trace that was cut may begin when all nodes run already.
    return life === null ? true : life.up;
  }

  faultsOf(node, ...kinds) {
    return this.faults.some((fault) => kinds.includes(fault.kind) && fault.node === node);
  }

  // What is wrong with a direction of a link: "cut", "bad", or nothing.
  linkTrouble(source, target) {
    for (const { kind, node, peer } of this.faults) {
      if (kind === "partition" && (node === source || node === target)) return "cut";
      if ((kind === "cut-one-way" || kind === "link") && node === source && peer === target) return "cut";
      if (kind === "flap" && ((node === source && peer === target) || (node === target && peer === source))) return "bad";
      if ((kind === "slow-link" || kind === "lossy-link") && node === source && peer === target) return "bad";
    }
    return "";
  }
}

function paint(stage, position, film) {
  const { context } = stage;
  stage.targets = [];
  stage.frames += 1;
  context.clearRect(0, 0, stage.width, stage.height);
  context.textBaseline = "middle";
  context.lineCap = "round";
  const now = new Moment(stage, position, film);
  paintLinks(now);
  for (const card of stage.cards.values()) paintCard(now, card);
  paintCalls(now);
  paintFlights(now);
}

function trace(context, link, from = 0, to = 1) {
  context.beginPath();
  if (from === 0 && to === 1) {
    context.moveTo(...link.start);
    context.quadraticCurveTo(...link.middle, ...link.end);
    return;
  }
  context.moveTo(...along(link, from));
  for (let part = 1; part <= 8; part += 1) context.lineTo(...along(link, from + ((to - from) * part) / 8));
}

function paintLinks(now) {
  const { context, links } = now.stage;
  for (const [name, link] of links) {
    const [source, target] = name.split(" ").map(Number);
    const trouble = now.linkTrouble(source, target);
    context.lineWidth = trouble ? 1.5 : 1;
    context.strokeStyle = trouble === "cut" ? theme.bad : trouble ? theme.fault : theme.line;
    context.setLineDash(trouble ? [2, 6] : []);
    trace(context, link);
    context.stroke();
    context.setLineDash([]);
    if (trouble === "cut") cross(context, ...along(link, 0.5), 5, theme.bad);
  }
}

function cross(context, x, y, size, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
  context.stroke();
}
