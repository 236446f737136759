// Pointer and keyboard, and what is said of that which is under the pointer.

function row(name, content) {
  const description = make("dd");
  description.append(content);
  return [make("dt", { textContent: name }), description];
}

const value = (text) => make("span", { className: "value", textContent: shown(text, 400) });
const FIELD_NAMES = { batch: "batch", of: "about", index: "number in the batch" };

function describeMessage(message) {
  const parts = [];
  for (const [name, content] of Object.entries(message)) {
    if (name === "kind" || content === null || content === undefined) continue;
    let text = content;
    if (name === "entries") text = content.map((entry) => `${entry.index}: ${(entry.operations ?? []).join("; ") || "opens the term"}`).join("\n") || "none";
    else if (name === "of") text = content.map((one) => `${one.key} ${one.ballot ?? ""}`).join(", ");
    else if (Array.isArray(content)) text = content.join("; ");
    parts.push(...row(FIELD_NAMES[name] ?? name, value(String(text))));
  }
  return [make("h4", { textContent: message.kind }), make("dl", {}, ...parts)];
}

function describeFrame(reel, frame) {
  const flight = frame.flights[0];
  const parts = [];
  parts.push(...row("left", duration(reel.origin + reel.times[frame.index])));
  const arrivals = frame.flights.filter((one) => one.end !== Infinity);
  if (arrivals.length) {
    const ends = arrivals.map((one) => duration(reel.origin + reel.times[one.end])).join(" and ");
    parts.push(...row(flight.dropped ? "lost" : "arrives", flight.dropped ? `${ends} (${flight.reason})` : ends));
  }
  if (frame.bytes) parts.push(...row("size", plural(frame.bytes, "byte")));
  const said = frame.messages.slice(0, 6).flatMap(describeMessage);
  if (frame.messages.length > 6) said.push(make("h4", { textContent: `and ${frame.messages.length - 6} more` }));
  return [make("h3", { textContent: `Node ${frame.source} to node ${frame.target}` }), make("dl", {}, ...parts), ...said];
}

function describeCall(reel, call) {
  const parts = [...row("asks", `node ${call.node}`), ...row("key", value(call.key))];
  if (call.argument !== null) parts.push(...row("argument", value(call.argument)));
  if (call.condition !== null) parts.push(...row("only if", value(call.condition)));
  parts.push(...row("called", duration(reel.origin + reel.times[call.start])));
  if (call.end === Infinity || call.end >= positionOf(reel)) parts.push(...row("answer", "waits for it"));
  else {
    parts.push(...row("answer", `${answer(call, 200)}, after ${duration(reel.times[call.end] - reel.times[call.start])}`));
    if (call.outcome === "unknown") parts.push(...row("so", "it may have happened, or not, or may happen yet"));
  }
  return [make("h3", { textContent: `Client ${call.client}: ${call.kind}` }), make("dl", {}, ...parts)];
}

function describeNode(reel, node, stage) {
  const position = positionOf(reel);
  const parts = [];
  const life = reel.lives.get(node).at(position);
  if (life) parts.push(...row("process", life.up ? `runs, for the ${ordinal(life.incarnation)} time` : "crashed"));
  const role = reel.roles.get(node).at(position);
  if (role) parts.push(...row("role", `${role.role}, term ${role.term}`), ...row("log", `to entry ${role.last}, committed to ${role.committed}, applied to ${role.applied}`));
  parts.push(...row("disk", plural(reel.stored.get(node).at(position) ?? 0, "row")));
  const faults = reel.faults.at(position).filter((fault) => fault.node === node).map((fault) => fault.kind);
  if (faults.length) parts.push(...row("faults", faults.join(", ")));
  const keys = stage.filter === null ? reel.keys.slice(0, 12) : [stage.filter];
  const states = keys.flatMap((key) => {
    const state = reel.stateHistory(node, key).at(position);
    if (!state) return [];
    const words = reel.paxos ? `promised ${state.promised}, accepted ${state.accepted}, ${quoted(state.value, 80)}` : `${quoted(state.value, 80)}`;
    return row(shown(key, 20), value(`${words}${state.durable ? "" : ", not on disk yet"}`));
  });
  return [make("h3", { textContent: `Node ${node}` }), make("dl", {}, ...parts), ...(states.length ? [make("h4", { textContent: "Keys" }), make("dl", {}, ...states)] : [])];
}

function ordinal(number) {
  const ending = number % 100 > 10 && number % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${number}${ending}`;
}

function showTip(stage, clientX, clientY) {
  const box = stage.canvas.getBoundingClientRect();
  const target = stage.at(clientX - box.left, clientY - box.top);
  const tip = byId("tip");
  if (!target) {
    tip.hidden = true;
    return;
  }
  const { reel } = stage;
  if (target.kind === "frame") tip.replaceChildren(...describeFrame(reel, target.frame));
  else if (target.kind === "call") tip.replaceChildren(...describeCall(reel, target.call));
  else tip.replaceChildren(...describeNode(reel, target.node, stage));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = clientX + 18 + width < window.innerWidth - 8;
  tip.style.left = `${Math.max(8, right ? clientX + 18 : clientX - 18 - width)}px`;
  tip.style.top = `${Math.max(8, Math.min(clientY + 14, window.innerHeight - height - 8))}px`;
}

const KEYS = {
  " ": () => (film.playing ? pause() : play()),
  k: () => (film.playing ? pause() : play()),
  ArrowRight: () => stepBy(1),
  ArrowLeft: () => stepBy(-1),
  ".": () => stepBy(1),
  ",": () => stepBy(-1),
  ArrowUp: () => leap(1),
  ArrowDown: () => leap(-1),
  Home: () => lookAt(0),
  End: () => {
    pause();
    lookAt(film.clock.end + film.clock.tail);
  },
  "+": () => setSlow(film.slow / 1.5),
  "=": () => setSlow(film.slow / 1.5),
  "-": () => setSlow(film.slow * 1.5),
  f: nextFilter,
  v: toFailure,
  t: switchTheme,
  "?": () => byId("help").showModal(),
};

const HELP = [
  ["space", "play, pause"],
  ["← and →", "one step back, one step on"],
  ["↓ and ↑", "the last and the next thing that a client sees: a call or an answer"],
  ["Home, End", "the beginning, the end"],
  ["− and +", "slower, faster"],
  ["f", "only the next key; after the last one all of them"],
  ["v", "what must not happen, if it did: the answers that prove it, one after the other"],
  ["t", "light or dark"],
];

const READING = [
  "Time runs slowly here, and passes quickly over gaps in which nothing happens.",
  "Every claim to a key has a ballot, and every ballot has a colour: its hue is that of the node that made it (3.2 is round 3 of node 2). In Raft the colour is that of the term, after its leader.",
  "A dashed outline is only in memory; filled is on disk. ✓ says that a majority of disks holds it: it is chosen. Filled messages ask, outlined ones answer, red ones refuse.",
  "Point at a message, a node or a client to see everything about it.",
];

// To the next call or answer, or the last one.
function leap(direction) {
  pause();
  for (let step = film.step + direction; step > 0 && step <= film.clock.steps; step += direction) {
    const reel = film.reels[film.clock.stepReels[step - 1]];
    const [first] = reel.groupBefore(film.clock.positions[reel.number][step]);
    if (["call", "return"].includes(reel.events[first][0]) && isWanted(step)) return stepTo(step);
  }
  return stepTo(direction > 0 ? film.clock.steps : 0);
}

function buildHelp() {
  const close = make("button", { type: "button", textContent: "Close" });
  close.addEventListener("click", () => byId("help").close());
  const rows = HELP.map(([keys, words]) => make("tr", {}, make("th", {}, make("kbd", { textContent: keys })), make("td", { textContent: words })));
  byId("help").replaceChildren(
    make("h2", { textContent: "How to read it" }),
    ...READING.map((text) => make("p", { textContent: text })),
    make("h2", { textContent: "Keys" }),
    make("table", {}, make("tbody", {}, ...rows)),
    close,
  );
}

function onKeyDown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.tagName === "SELECT" || (event.target.tagName === "INPUT" && event.key.startsWith("Arrow"))) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

// The space bar plays and pauses, whatever button was pressed last.
function onKeyUp(event) {
  if (event.key === " " && event.target.tagName === "BUTTON" && !byId("help").open) event.preventDefault();
}

function listenToScrubber() {
  const canvas = byId("scrubber");
  let resumes = false;
  const look = (event) => lookAt(film.scrubber.filmAt(event.clientX - canvas.getBoundingClientRect().left));
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    resumes = film.playing;
    pause();
    look(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) look(event);
  });
  canvas.addEventListener("pointerup", () => {
    if (resumes) play();
  });
}

function resize() {
  for (const stage of film.stages) stage.resize();
  film.scrubber.resize();
  draw();
}

function listen() {
  document.addEventListener("keydown", onKeyDown);
  document.addEventListener("keyup", onKeyUp);
  byId("play").addEventListener("click", KEYS[" "]);
  byId("first").addEventListener("click", KEYS.Home);
  byId("back").addEventListener("click", KEYS.ArrowLeft);
  byId("forward").addEventListener("click", KEYS.ArrowRight);
  byId("to-failure").addEventListener("click", toFailure);
  byId("theme").addEventListener("click", switchTheme);
  byId("help-button").addEventListener("click", KEYS["?"]);
  byId("speed").addEventListener("input", () => setSlow(10 ** (6 - Number(byId("speed").value))));
  listenToScrubber();
  for (const stage of film.stages) {
    for (const name of ["pointermove", "pointerdown"]) {
      stage.canvas.addEventListener(name, (event) => {
        film.pointer = [stage, event.clientX, event.clientY];
        showTip(...film.pointer);
      });
    }
    stage.canvas.addEventListener("pointerleave", () => {
      film.pointer = null;
      byId("tip").hidden = true;
    });
  }
  new ResizeObserver(resize).observe(byId("stages"));
  system.addEventListener("change", () => {
    if (!remembered()) setTheme(system.matches);
  });
}
