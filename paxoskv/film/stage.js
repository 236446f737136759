// Where everything is: nodes in a ring, their clients beside them, links between.

const ROW = 21;
const HEAD = 31;
const FOOT = 27;
const SLOT = 27;
const SLOTS_MAX = 5;
const LINK_GAP = 9;
const LINK_BEND = 0.12;

class Stage {
  constructor(reel, clock, canvas) {
    this.reel = reel;
    this.clock = clock;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.filter = null;
    this.targets = [];
    this.frames = 0;
  }

  // Which keys a node's card shows: the one of the filter, or those with most to show, the same all the time.
  keys() {
    if (this.filter !== null) return [this.filter];
    return this.reel.keys.slice(0, this.rowsMax).sort();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.max(240, box.width), Math.max(200, box.height)];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    // Few nodes on a large screen are drawn larger, many smaller.
    const size = this.reel.nodes.length;
    const [wanted, high] = size <= 3 ? [900, 360] : size <= 6 ? [1160, 470] : [1640, 760];
    this.zoom = clamp(Math.min(width / wanted, height / high), size > 6 ? 0.6 : 1, 1.45);
    this.width = width / this.zoom;
    this.height = height / this.zoom;
    this.context.setTransform(ratio * this.zoom, 0, 0, ratio * this.zoom, 0, 0);
    this.arrange();
  }

  arrange() {
    const { width, height, reel } = this;
    const { nodes } = reel;
    const narrow = width < 700;
    this.cardWidth = clamp(width * (narrow ? 0.3 : 0.21), 150, 206);
    this.clientWidth = narrow ? this.cardWidth : clamp(width * 0.17, 110, 186);
    const storeys = nodes.length <= 2 ? 1 : nodes.length <= 6 ? 2 : 3;
    const log = reel.paxos ? 15 : 32;
    this.rowsMax = clamp(Math.floor(((height - 36) / (storeys + (nodes.length > 3 ? 0.9 : 0.35)) - HEAD - FOOT - log) / ROW), 1, nodes.length > 6 ? 3 : 5);
    this.cardHeight = HEAD + log + this.keys().length * ROW + FOOT + 3;
    this.slots = new Map(nodes.map((node) => [node, 0]));
    for (const call of reel.calls.items) {
      if (this.slots.has(call.node)) this.slots.set(call.node, Math.max(this.slots.get(call.node), Math.min(SLOTS_MAX, call.slot + 1)));
    }
    this.cards = new Map();
    const places = ring(nodes.length);
    const reachX = Math.max(this.cardWidth * 0.55, width / 2 - this.cardWidth / 2 - (narrow ? 14 : this.clientWidth + 40));
    // Where clients have no room beside their nodes, they are below.
    const below = narrow ? Math.max(0, ...nodes.slice(1).map((node) => this.slots.get(node))) * SLOT + 6 : 0;
    const reachY = Math.max(0, (height - below) / 2 - this.cardHeight / 2 - 14);
    nodes.forEach((node, number) => {
      const [x, y] = places[number];
      const [centreX, centreY] = [width / 2 + x * reachX, (height - below) / 2 + y * reachY];
      this.cards.set(node, {
        node,
        x: Math.round(centreX - this.cardWidth / 2),
        y: Math.round(centreY - this.cardHeight / 2),
        centreX,
        centreY,
        side: narrow && (number > 0 || nodes.length < 3) ? "below" : x >= -0.01 ? "right" : "left",
      });
    });
    this.links = new Map();
    for (const source of nodes) for (const target of nodes) if (source !== target) this.links.set(`${source} ${target}`, this.link(source, target));
  }

  // A gentle arc from the edge of one card to that of the other; the way back is another one beside it.
  link(source, target) {
    const [from, to] = [this.cards.get(source), this.cards.get(target)];
    const [dx, dy] = [to.centreX - from.centreX, to.centreY - from.centreY];
    const length = Math.hypot(dx, dy) || 1;
    const [normalX, normalY] = [-dy / length, dx / length];
    const start = this.edge(from, dx, dy, normalX, normalY);
    const end = this.edge(to, -dx, -dy, normalX, normalY);
    const bend = Math.hypot(end[0] - start[0], end[1] - start[1]) * LINK_BEND;
    const middle = [(start[0] + end[0]) / 2 + normalX * bend, (start[1] + end[1]) / 2 + normalY * bend];
    return { start, middle, end };
  }

  edge(card, dx, dy, normalX, normalY) {
    const scale = Math.min((this.cardWidth / 2 + 5) / Math.max(1e-9, Math.abs(dx)), (this.cardHeight / 2 + 5) / Math.max(1e-9, Math.abs(dy)));
    return [card.centreX + dx * scale + normalX * LINK_GAP, card.centreY + dy * scale + normalY * LINK_GAP];
  }

  // Where a call's capsule is, and the ends of the line between it and its node.
  seat(call) {
    const card = this.cards.get(call.node);
    const { cardWidth, cardHeight, clientWidth: width } = this;
    if (card.side === "below") {
      const y = card.y + cardHeight + 20 + call.slot * SLOT;
      const line = card.x - 5;
      return { x: card.x, y, width, from: [line, y], to: [line, card.y + cardHeight - 8] };
    }
    const y = card.centreY + (call.slot - (this.slots.get(call.node) - 1) / 2) * SLOT;
    const end = clamp(y, card.y + 10, card.y + cardHeight - 10);
    if (card.side === "right") {
      const x = card.x + cardWidth + 30;
      return { x, y, width, from: [x, y], to: [card.x + cardWidth, end] };
    }
    const x = card.x - 30 - width;
    return { x, y, width, from: [x + width, y], to: [card.x, end] };
  }

  // What is under the pointer, the topmost first.
  at(clientX, clientY) {
    const [x, y] = [clientX / this.zoom, clientY / this.zoom];
    for (let index = this.targets.length - 1; index >= 0; index -= 1) {
      const target = this.targets[index];
      if (x >= target.left && x <= target.right && y >= target.top && y <= target.bottom) return target;
    }
    return null;
  }
}

// Places on a ring, the first at its top, stretched to fill a square from -1 to 1.
function ring(size) {
  if (size === 1) return [[0, 0]];
  if (size === 2) return [[-1, 0], [1, 0]];
  const raw = Array.from({ length: size }, (_, number) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * number) / size;
    return [Math.cos(angle), Math.sin(angle)];
  });
  const [xs, ys] = [raw.map(([x]) => x), raw.map(([, y]) => y)];
  const stretch = (value, values) => (2 * (value - Math.min(...values))) / (Math.max(...values) - Math.min(...values)) - 1;
  return raw.map(([x, y]) => [stretch(x, xs), stretch(y, ys)]);
}

function along(link, share) {
  const rest = 1 - share;
  const [a, b, c] = [rest * rest, 2 * rest * share, share * share];
  return [a * link.start[0] + b * link.middle[0] + c * link.end[0], a * link.start[1] + b * link.middle[1] + c * link.end[1]];
}
