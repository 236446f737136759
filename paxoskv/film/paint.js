// Painting a stage at one moment. All that is painted follows from the position and the moment, so the same moment
// looks the same however one got there.

const LABELS_MAX = 16;
const RECENT_MAX = 700;
const widths = new Map();

const LABELS = {
  Prepare: (m) => `prepare ${m.ballot}`,
  Promised: (m) => (m.ballot ? `promise ${m.ballot}` : "promise"),
  Accept: (m) => `accept ${m.value === null ? "absent" : shown(m.value, 12)}`,
  Accepted: () => "accepted",
  Refused: (m) => `no: ${m.promised}`,
  Read: (m) => `version of ${shown(m.key, 8)}?`,
  Version: (m) => (m.accepted === "-" ? "none" : m.accepted),
  Fetch: () => "value?",
  Register: (m) => shown(m.value, 12),
  Relay: (m) => (m.operations.length > 1 ? `do ${m.operations.length} for me` : `do: ${shown(m.operations[0], 12)}`),
  RelayAnswer: () => "done",
  NotHolder: () => "not mine",
  Append: (m) => (m.entries.length === 0 ? "" : m.entries.length > 1 ? `entries ${m.entries[0].index}–${m.entries[m.entries.length - 1].index}` : `entry ${m.entries[0].index}`),
  Appended: (m) => `on disk to ${m.match}`,
  Rejected: () => "no match",
  VoteRequest: (m) => (m.trial ? "would you?" : `vote, term ${m.term}?`),
  Vote: (m) => (m.granted ? (m.trial ? "I would" : "my vote") : "no"),
  Forward: (m) => (m.operations.length > 1 ? `do ${m.operations.length} for me` : `do: ${shown(m.operations[0], 12)}`),
  ReadRequest: () => "how far?",
  ReadIndex: (m) => (m.index < 0 ? "not leader" : `to ${m.index}`),
};
const ANSWERS = new Set(["Promised", "Accepted", "Version", "Register", "RelayAnswer", "Appended", "Vote", "ReadIndex", "Stored", "Page"]);
const REFUSALS = new Set(["Refused", "NotHolder", "Rejected", "Expected"]);

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

// Nodes.

function paintCard(now, card) {
  const { stage } = now;
  const { context, cardWidth: width, cardHeight: height } = stage;
  const { x, y, node } = card;
  const up = now.isUp(node);
  const paused = now.faultsOf(node, "pause");
  stage.targets.push({ left: x, right: x + width, top: y, bottom: y + height, kind: "node", node });
  rounded(context, x, y, width, height, 10);
  context.fillStyle = theme.panel;
  context.shadowColor = theme.dark ? "rgb(0 0 0 / 45%)" : "rgb(20 30 50 / 9%)";
  context.shadowBlur = 14;
  context.shadowOffsetY = 3;
  context.fill();
  context.shadowColor = "transparent";
  context.shadowBlur = context.shadowOffsetY = 0;
  context.lineWidth = 1;
  context.strokeStyle = up ? theme.line : theme.bad;
  context.setLineDash(up ? [] : [4, 4]);
  context.stroke();
  context.setLineDash([]);
  paintHead(now, card, up, paused);
  faded(context, up ? (paused ? 0.55 : 1) : 0.32, () => {
    let top = y + HEAD;
    if (!now.reel.paxos) {
      paintLog(now, card, top);
      top += 17;
    }
    paintRows(now, card, top);
    paintDisk(now, card);
  });
}

function paintHead(now, card, up, paused) {
  const { context, cardWidth: width } = now.stage;
  const { x, y, node } = card;
  const middle = y + HEAD / 2 + 1;
  context.textAlign = "left";
  context.font = `650 13px ${theme.sans}`;
  context.fillStyle = up ? theme.ink : theme.faint;
  const name = `Node ${node}`;
  context.fillText(name, x + 12, middle);
  let status = "";
  let colour = theme.soft;
  if (!up) [status, colour] = ["crashed", theme.bad];
  else if (paused) [status, colour] = ["standing still", theme.fault];
  else if (now.faultsOf(node, "partition")) [status, colour] = ["cut off", theme.bad];
  else if (!now.reel.paxos) {
    const role = now.reel.roles.get(node).at(now.position);
    if (role) {
      status = `${role.role}, term ${role.term}`;
      colour = role.role === "leader" ? ballotColour(now.reel, `t${role.term}`) : theme.soft;
      if (role.role === "leader") context.font = `650 12px ${theme.sans}`;
    }
  }
  if (status) {
    const room = width - 34 - widthOf(context, name);
    if (!status.startsWith("leader")) context.font = `12px ${theme.sans}`;
    context.textAlign = "right";
    context.fillStyle = colour;
    if (widthOf(context, status) > room) status = fitted(context, status.split(",")[0], room);
    context.fillText(status, x + width - 12, middle);
  }
}

// The end of the log: filled when committed, dashed until it is on this node's disk.
function paintLog(now, card, top) {
  const { context, cardWidth: width } = now.stage;
  const { reel } = now;
  const role = reel.roles.get(card.node).at(now.position);
  const durable = reel.durableRoles.get(card.node).at(now.position)?.last ?? 0;
  const [x, y] = [card.x + 12, top];
  const most = Math.floor((width - 24 - 44) / 11);
  context.textAlign = "left";
  context.font = `10.5px ${theme.sans}`;
  context.fillStyle = theme.faint;
  context.fillText("log", x, y + 4);
  if (!role) return;
  const first = Math.max(1, role.last - most + 1);
  for (let index = first; index <= role.last; index += 1) {
    const colour = ballotColour(reel, reel.terms[index] ? `t${reel.terms[index]}` : "-");
    rounded(context, x + 22 + (index - first) * 11, y, 8, 8, 2);
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.2;
    if (index <= role.committed) context.fill();
    else {
      context.setLineDash(index > durable ? [2, 2] : []);
      context.stroke();
      context.setLineDash([]);
    }
  }
  context.textAlign = "right";
  context.fillStyle = theme.soft;
  context.fillText(String(role.last), card.x + width - 12, y + 4);
}

function paintRows(now, card, top) {
  const { context, cardWidth: width } = now.stage;
  const { reel } = now;
  const x = card.x + 12;
  const keys = now.stage.keys();
  const keyWidth = Math.min(width * 0.28, 10 + Math.max(20, ...keys.map((key) => 7.4 * Math.min(9, key.length))));
  const promisedX = x + keyWidth;
  const valueX = reel.paxos ? promisedX + 55 : promisedX;
  const valueWidth = card.x + width - 10 - valueX;
  context.font = `9.5px ${theme.sans}`;
  context.textAlign = "left";
  context.fillStyle = theme.faint;
  context.fillText("key", x, top + 4);
  if (reel.paxos) {
    context.fillText("promised", promisedX, top + 4);
    context.fillText("accepted", valueX + 2, top + 4);
  } else context.fillText("value", valueX + 2, top + 4);
  keys.forEach((key, number) => {
    const middle = top + 15 + ROW * number + ROW / 2 - 2;
    const history = reel.stateHistory(card.node, key);
    const state = history.at(now.position);
    context.font = `12px ${theme.mono}`;
    context.fillStyle = theme.soft;
    context.fillText(fitted(context, shown(key), keyWidth - 8), x, middle);
    if (!state) {
      context.fillStyle = theme.faint;
      context.fillText("–", promisedX, middle);
      return;
    }
    if (reel.paxos) paintPromise(now, state, promisedX, middle);
    paintAccepted(now, card, key, state, valueX, middle, valueWidth);
  });
}

function paintPromise(now, state, x, middle) {
  const { context } = now.stage;
  const colour = ballotColour(now.reel, state.promised);
  context.font = `600 11.5px ${theme.mono}`;
  context.fillStyle = colour;
  faded(context, state.durable ? 1 : 0.75, () => context.fillText(state.promised === "-" ? "–" : state.promised, x, middle));
  if (!state.durable && state.promised !== "-") {
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.setLineDash([2, 2]);
    context.beginPath();
    context.moveTo(x, middle + 7.5);
    context.lineTo(x + widthOf(context, state.promised), middle + 7.5);
    context.stroke();
    context.setLineDash([]);
  }
}

function paintAccepted(now, card, key, state, x, middle, width) {
  const { context } = now.stage;
  const { reel } = now;
  const nothing = reel.paxos ? state.accepted === "-" || state.accepted === null : state.value === null && state.accepted === "0";
  if (nothing) {
    context.font = `12px ${theme.mono}`;
    context.fillStyle = theme.faint;
    context.fillText("–", x + 6, middle);
    return;
  }
  const colour = reel.paxos ? ballotColour(reel, state.accepted) : logColour(reel, state.accepted);
  // The acceptance itself may be older than the last promise, and on disk since.
  const durable = state.durable || acceptedDurably(now, card.node, key, state.accepted);
  const chosen = reel.paxos && isChosen(now, key, state.accepted);
  const pop = clamp(1 - now.age(state.index) * 3, 0, 1);
  const label = state.value === null ? "absent" : shown(state.value, 60);
  context.font = `600 11.5px ${theme.mono}`;
  const text = fitted(context, label, width - 14 - (chosen ? 12 : 0));
  const wide = widthOf(context, text) + 14 + (chosen ? 12 : 0);
  const high = 16;
  const glow = chosen ? chosenGlow(now, key, state.accepted) : 0;
  if (glow > 0) {
    faded(context, glow, () => {
      context.strokeStyle = theme.good;
      context.lineWidth = 2;
      const spread = 2 + 5 * (1 - glow);
      rounded(context, x - spread, middle - high / 2 - spread, wide + 2 * spread, high + 2 * spread, 12);
      context.stroke();
    });
  }
  rounded(context, x - pop, middle - high / 2 - pop, wide + 2 * pop, high + 2 * pop, 9);
  if (durable) {
    context.fillStyle = colour;
    context.fill();
    context.fillStyle = theme.dark ? theme.page : "#fff";
  } else {
    context.strokeStyle = colour;
    context.lineWidth = 1.3;
    context.setLineDash([3, 2.5]);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = colour;
  }
  context.textAlign = "left";
  context.fillText(text, x + 7, middle + 0.5);
  if (chosen) {
    context.font = `700 11px ${theme.sans}`;
    context.fillText("✓", x + wide - 15, middle + 0.5);
  }
}

// The version of a key in raft mode is its entry's index, and more.
function logColour(reel, version) {
  const index = Math.floor(Number(version) / 2 ** 20);
  return ballotColour(reel, reel.terms[index] ? `t${reel.terms[index]}` : "-");
}

function acceptedDurably(now, node, key, accepted) {
  const history = now.reel.stateHistory(node, key);
  for (let place = upperBound(history.indices, now.position - 1) - 1; place >= 0; place -= 1) {
    const before = history.values[place];
    if (before.accepted !== accepted) return false;
    if (before.durable) return true;
  }
  return false;
}

function isChosen(now, key, accepted) {
  const chosen = now.reel.chosen.get(key)?.at(now.position);
  if (!chosen) return false;
  const [ballot, step] = accepted.split("/");
  const [chosenBallot, chosenStep] = chosen.version.split("/");
  return ballot === chosenBallot && Number(step) <= Number(chosenStep);
}

function chosenGlow(now, key, accepted) {
  const chosen = now.reel.chosen.get(key)?.at(now.position);
  return chosen?.version === accepted ? clamp(1 - now.age(chosen.index) / 1.1, 0, 1) : 0;
}

function paintDisk(now, card) {
  const { stage, reel } = now;
  const { context, cardWidth: width, cardHeight: height } = stage;
  const [x, y] = [card.x + 12, card.y + height - FOOT + 4];
  const stalled = now.faultsOf(card.node, "disk-stall", "disk-full");
  const flash = Math.max(0, ...now.recent.filter((index) => reel.events[index][0] === "commit" && reel.events[index][1] === card.node).map((index) => 1 - now.age(index) * 2.5));
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(card.x + 1, y - 5);
  context.lineTo(card.x + width - 1, y - 5);
  context.stroke();
  cylinder(context, x, y, stalled ? theme.bad : theme.soft, flash);
  const rows = reel.rows.at(now.position).filter((row) => row.node === card.node);
  const end = card.x + width - 12;
  const begin = x + 20;
  rows.slice(-12).forEach((row) => {
    const from = now.filmAt(row.start);
    const to = row.end === Infinity || stalled ? from + now.clock.typical * 4 : now.filmAt(row.end);
    const share = clamp((now.film - from) / Math.max(1e-12, to - from), 0, stalled ? 0.5 : 1);
    context.fillStyle = stalled ? theme.bad : theme.doubt;
    rounded(context, end - 9 - (end - 9 - begin) * smooth(share), y + 4, 9, 8, 2);
    context.fill();
  });
  context.font = `11px ${theme.sans}`;
  if (stalled) {
    context.textAlign = "left";
    context.fillStyle = theme.bad;
    context.fillText("hangs", begin, y + 8.5);
  } else if (!rows.length) {
    const stored = reel.stored.get(card.node).at(now.position) ?? 0;
    context.textAlign = "left";
    context.fillStyle = theme.faint;
    context.fillText(stored ? `${plural(stored, "row")} on disk` : "nothing on disk yet", begin, y + 8);
  }
}

function cylinder(context, x, y, colour, flash) {
  context.strokeStyle = flash > 0 ? theme.good : colour;
  context.lineWidth = 1.3 + flash;
  context.beginPath();
  context.ellipse(x + 6, y + 3, 6, 2.4, 0, 0, 2 * Math.PI);
  context.moveTo(x, y + 3);
  context.lineTo(x, y + 11.5);
  context.ellipse(x + 6, y + 11.5, 6, 2.4, 0, Math.PI, 0, true);
  context.lineTo(x + 12, y + 3);
  context.stroke();
}

// Clients.

function paintCalls(now) {
  const { stage, reel } = now;
  const hidden = new Map();
  const seen = [];
  for (const call of reel.calls.at(now.position)) seen.push([call, 1]);
  for (const index of now.recent) {
    const event = reel.events[index];
    if (event[0] !== "return") continue;
    const call = reel.callOf.get(event[1]);
    const alpha = clamp((2.4 - now.age(index)) / 0.5, 0, 1);
    if (call.end === index && alpha > 0) seen.push([call, alpha]);
  }
  for (const [call, alpha] of seen) {
    if (stage.filter !== null && call.key !== stage.filter) continue;
    if (!stage.cards.has(call.node)) continue;
    if (call.slot >= SLOTS_MAX) {
      if (alpha === 1) hidden.set(call.node, (hidden.get(call.node) ?? 0) + 1);
      continue;
    }
    faded(stage.context, alpha, () => paintCall(now, call));
  }
  for (const [node, number] of hidden) {
    const seat = stage.seat({ node, slot: SLOTS_MAX - 0.2 });
    stage.context.font = `11px ${theme.sans}`;
    stage.context.textAlign = "left";
    stage.context.fillStyle = theme.faint;
    stage.context.fillText(`and ${plural(number, "client")} more`, seat.x + 12, seat.y + 4);
  }
}

function paintCall(now, call) {
  const { stage } = now;
  const { context } = stage;
  const { x, y, width, from, to } = stage.seat(call);
  const ended = call.end < now.position;
  const colour = !ended ? theme.soft : call.outcome === "unknown" ? theme.doubt : call.outcome === "failed" || call.status ? theme.bad : theme.good;
  stage.targets.push({ left: x, right: x + width, top: y - 12, bottom: y + 12, kind: "call", call });
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  rounded(context, x, y - 11.5, width, 23, 12);
  context.fillStyle = theme.panel;
  context.fill();
  context.strokeStyle = ended ? colour : theme.line;
  context.stroke();
  paintMark(now, call, x + 12, y, ended, colour);
  context.textAlign = "left";
  context.font = `11.5px ${theme.sans}`;
  const number = `${call.client} `;
  context.fillStyle = theme.faint;
  context.fillText(number, x + 22, y + 0.5);
  const left = x + 22 + widthOf(context, number);
  const room = width - 8 - (left - x);
  const words = ended ? `${request(call)}: ${answer(call)}` : request(call);
  context.fillStyle = ended ? colour : theme.ink;
  let text = fitted(context, words, room);
  if (ended && text !== words) text = fitted(context, answer(call, 30), room);
  context.fillText(text, left, y + 0.5);
  const travel = now.clock.typical * 0.42;
  const went = (now.film - now.filmAt(call.start)) / travel;
  const comes = call.end === Infinity || call.outcome === "unknown" ? 2 : (now.filmAt(call.end) - now.film) / travel;
  const share = went < 1 ? went : !ended && comes < 1 ? comes : null;
  if (share !== null) {
    context.beginPath();
    context.arc(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, 3.5, 0, 2 * Math.PI);
    context.fillStyle = went < 1 ? theme.ink : theme.good;
    context.fill();
  }
}

function paintMark(now, call, x, y, ended, colour) {
  const { context } = now.stage;
  if (ended) {
    context.font = `700 12px ${theme.sans}`;
    context.textAlign = "center";
    context.fillStyle = colour;
    context.fillText(call.outcome === "unknown" ? "?" : call.outcome === "failed" || call.status ? "✗" : "✓", x, y + 0.5);
    return;
  }
  const turn = ((now.film - now.filmAt(call.start)) / now.clock.typical) * 2.6;
  context.lineWidth = 1.6;
  context.strokeStyle = theme.line;
  context.beginPath();
  context.arc(x, y, 4.6, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = theme.soft;
  context.beginPath();
  context.arc(x, y, 4.6, turn, turn + 1.7);
  context.stroke();
}

// Frames under way.

function paintFlights(now) {
  const { stage, reel } = now;
  const flights = reel.flights.at(now.position).filter((flight) => stage.links.has(`${flight.frame.source} ${flight.frame.target}`));
  const wanted = (flight) => stage.filter === null || flight.frame.messages.some((message) => concernsKey(message, stage.filter));
  const labelled = flights.filter(wanted).length <= LABELS_MAX * (stage.width / 900);
  for (const flight of flights) {
    const from = now.filmAt(flight.start);
    const to = flight.end === Infinity ? from + now.clock.typical * 3 : now.filmAt(flight.end);
    const share = to > from ? (now.film - from) / (to - from) : 1;
    const far = flight.dropped ? 0.72 : flight.end === Infinity ? 0.9 : 1;
    paintFlight(now, flight.frame, clamp(share, 0, 1) * far, wanted(flight), labelled, 1);
  }
  for (const index of now.recent) {
    const event = reel.events[index];
    if (event[0] !== "drop") continue;
    const frame = reel.frames[event[1]];
    if (!stage.links.has(`${frame.source} ${frame.target}`)) continue;
    const wantedFrame = wanted({ frame });
    const age = now.age(index);
    // What is lost where it leaves is shown to get half the way all the same.
    const atOnce = reel.times[index] - reel.times[frame.index] < now.clock.typical * 0.01;
    const place = atOnce ? 0.5 : 0.72;
    if (atOnce && age < 0.5) paintFlight(now, frame, age, wantedFrame, labelled, 1);
    else {
      const gone = atOnce ? age - 0.5 : age;
      const alpha = 1 - gone / 0.8;
      if (alpha <= 0) continue;
      faded(stage.context, alpha * (wantedFrame ? 1 : 0.3), () => {
        const [x, y] = along(stage.links.get(`${frame.source} ${frame.target}`), place);
        cross(stage.context, x, y, 6, theme.bad);
        stage.context.font = `600 11px ${theme.sans}`;
        stage.context.textAlign = "center";
        stage.context.fillStyle = theme.bad;
        stage.context.fillText({ cut: "link cut", lost: "lost", down: "nobody there", stale: "outdated" }[event[2]] ?? "lost", x, y + 16);
      });
    }
  }
}

function labelOf(frame) {
  const first = frame.messages[0];
  if (!first) return "";
  const label = LABELS[first.kind] ? LABELS[first.kind](first) : first.kind.toLowerCase();
  return frame.messages.length > 1 && label ? `${label} +${frame.messages.length - 1}` : label;
}

// How much of a link a label takes at either end, so that it leaves and arrives beside the cards and not on them.
function margin(link, wide) {
  const [dx, dy] = [link.end[0] - link.start[0], link.end[1] - link.start[1]];
  const length = Math.hypot(dx, dy) || 1;
  return Math.min(0.35, ((Math.abs(dx) / length) * (wide / 2) + (Math.abs(dy) / length) * 9) / length);
}

function paintFlight(now, frame, share, wanted, labelled, alpha) {
  const { context, links } = now.stage;
  const link = links.get(`${frame.source} ${frame.target}`);
  const label = wanted && labelled ? labelOf(frame) : "";
  context.font = `600 11px ${theme.sans}`;
  const wide = label ? widthOf(context, label) + 14 : 0;
  const space = margin(link, wide);
  const place = space + share * (1 - 2 * space);
  const [x, y] = along(link, place);
  const colour = ballotColour(now.reel, frame.ballot);
  const kind = frame.messages[0]?.kind;
  const refusal = REFUSALS.has(kind) || (kind === "Vote" && !frame.messages[0].granted);
  const ink = refusal ? theme.bad : colour;
  faded(context, wanted ? alpha : 0.22, () => {
    context.strokeStyle = ink;
    context.lineWidth = 2.2;
    faded(context, 0.35, () => {
      trace(context, link, Math.max(0, place - 0.22), place);
      context.stroke();
    });
    if (!label) {
      context.beginPath();
      context.arc(x, y, frame.messages.length ? 4.5 : 3, 0, 2 * Math.PI);
      context.fillStyle = ink;
      context.fill();
      now.stage.targets.push({ left: x - 8, right: x + 8, top: y - 8, bottom: y + 8, kind: "frame", frame });
      return;
    }
    rounded(context, x - wide / 2, y - 9, wide, 18, 9);
    const answers = ANSWERS.has(kind) || refusal;
    context.fillStyle = answers ? theme.panel : ink;
    context.fill();
    context.strokeStyle = answers ? ink : theme.panel;
    context.lineWidth = answers ? 1.5 : 1;
    context.stroke();
    context.textAlign = "center";
    context.fillStyle = answers ? ink : theme.dark ? theme.page : "#fff";
    context.fillText(label, x, y + 0.5);
    now.stage.targets.push({ left: x - wide / 2, right: x + wide / 2, top: y - 10, bottom: y + 10, kind: "frame", frame });
  });
}
