// Pointer, wheel and keyboard.

const pointers = new Map();
let dragging = null;

function place(event) {
  const box = byId("timeline").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function onPointerDown(event) {
  if (event.button !== 0 || !timeline.columns) return;
  const [x, y] = place(event);
  byId("timeline").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [x, y]);
  dragging = { x, y, moved: false, overview: y < OVERVIEW, bar: x > timeline.width - MARGIN && timeline.scrollMax > 0 && y > timeline.lanesTop };
  if (dragging.overview) lookAtOverview(x);
}

function lookAtOverview(x) {
  const time = timeline.begin + ((x - GUTTER) / timeline.plot) * (timeline.end - timeline.begin);
  const half = (timeline.to - timeline.from) / 2;
  timeline.journey = null;
  timeline.look(time - half, time + half);
}

function onPointerMove(event) {
  if (!timeline.columns) return;
  const [x, y] = place(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    const target = timeline.at(x, y);
    timeline.hover(target);
    byId("timeline").style.cursor = target?.row !== undefined || target?.fault ? "pointer" : target?.overview ? "ew-resize" : "default";
    showTip(target, event.clientX, event.clientY);
    return;
  }
  pointers.set(event.pointerId, [x, y]);
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, position]) => position);
    const [wide, was] = [Math.abs(x - other[0]), Math.abs(before[0] - other[0])];
    if (was > 8 && wide > 8) timeline.zoom(wide / was, (x + other[0]) / 2);
    timeline.pan((before[0] - x) / 2);
    dragging.moved = true;
    return;
  }
  if (Math.hypot(x - dragging.x, y - dragging.y) > 4) dragging.moved = true;
  if (!dragging.moved) return;
  if (!pinned) byId("tip").hidden = true;
  if (dragging.overview) lookAtOverview(x);
  else if (dragging.bar) {
    timeline.scrollTo(timeline.scroll + (y - before[1]) * ((timeline.lanes.length * timeline.laneHeight) / timeline.lanesHeight));
    timeline.draw();
  } else {
    timeline.scrollTo(timeline.scroll + before[1] - y);
    timeline.pan(before[0] - x);
  }
}

function onPointerUp(event) {
  if (!pointers.delete(event.pointerId) || pointers.size) return;
  const [x, y] = place(event);
  if (!dragging.moved && !dragging.overview) {
    const target = timeline.at(x, y);
    unpin();
    timeline.hover(target);
    if (target?.row !== undefined || target?.fault) showTip(target, event.clientX, event.clientY, true);
  }
}

function onWheel(event) {
  if (!timeline.columns) return;
  event.preventDefault();
  const [x, y] = place(event);
  const unit = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
  const [sideways, down] = [event.deltaX * unit, event.deltaY * unit];
  if (!pinned) byId("tip").hidden = true;
  if (event.shiftKey || Math.abs(sideways) > Math.abs(down)) timeline.pan(sideways || down);
  else if (event.altKey || (x < GUTTER && y > timeline.lanesTop)) {
    timeline.scrollTo(timeline.scroll + down);
    timeline.draw();
  } else timeline.zoom(Math.exp(-down * (event.ctrlKey ? 0.01 : 0.0022)), Math.max(GUTTER, x));
}

function toViolation() {
  if (timeline.columns && timeline.witness.length) timeline.focus(timeline.witness.map((one) => one.row));
}

function toggleLanes() {
  timeline.setTogether(!timeline.together);
  showLanesButton();
}

const onTimeline = (act) => () => {
  if (timeline.columns) act();
};

const KEYS = {
  ArrowLeft: onTimeline(() => timeline.pan(-timeline.plot * 0.12)),
  ArrowRight: onTimeline(() => timeline.pan(timeline.plot * 0.12)),
  ArrowUp: onTimeline(() => {
    timeline.scrollTo(timeline.scroll - 60);
    timeline.draw();
  }),
  ArrowDown: onTimeline(() => {
    timeline.scrollTo(timeline.scroll + 60);
    timeline.draw();
  }),
  "+": onTimeline(() => timeline.zoom(1.5)),
  "=": onTimeline(() => timeline.zoom(1.5)),
  "-": onTimeline(() => timeline.zoom(1 / 1.5)),
  0: onTimeline(() => timeline.fit()),
  v: toViolation,
  n: () => stepWrong(1),
  p: () => stepWrong(-1),
  j: () => stepThrough(listed, 1),
  k: () => stepThrough(listed, -1),
  l: onTimeline(toggleLanes),
  t: switchTheme,
  "/": () => byId("search").focus(),
  "?": () => byId("help").showModal(),
  Escape: unpin,
};

const HELP = [
  ["wheel, pinch, + and -", "zoom"],
  ["drag, ← and →", "move in time; also with Shift and the wheel"],
  ["↑ and ↓", "move through lanes; also with Alt and the wheel"],
  ["0", "everything"],
  ["v", "the violation"],
  ["n and p", "the next and the previous key that is wrong"],
  ["j and k", "the next and the previous key of the list"],
  ["/", "find a key"],
  ["l", "a lane for each client, or fewer lanes"],
  ["t", "light or dark"],
  ["click or tap", "keep what is said of an operation; Esc closes it"],
];

function showHelp() {
  const close = make("button", { type: "button", textContent: "Close" });
  close.addEventListener("click", () => byId("help").close());
  const rows = HELP.map(([keys, words]) =>
    make("tr", {}, make("th", {}, make("kbd", { textContent: keys })), make("td", { textContent: words })),
  );
  byId("help").replaceChildren(make("h2", {}, "Keys and gestures"), make("table", {}, make("tbody", {}, ...rows)), close);
}

function onKeyDown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target === byId("search")) {
    if (event.key === "Escape") byId("timeline").focus();
    if (event.key === "Enter" && listed.length) choose(listed[0]);
    return;
  }
  if (event.target === byId("keys") && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    stepThrough(listed, event.key === "ArrowUp" ? -1 : 1);
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  leave();
  act();
}

// The pointer is nowhere in particular.
function leave() {
  timeline.hover(null);
  if (!pinned) byId("tip").hidden = true;
}

function listen() {
  const canvas = byId("timeline");
  canvas.addEventListener("pointerdown", onPointerDown);
  canvas.addEventListener("pointermove", onPointerMove);
  canvas.addEventListener("pointerup", onPointerUp);
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("dblclick", (event) => timeline.columns && timeline.zoom(3, place(event)[0]));
  document.addEventListener("keydown", onKeyDown);
  byId("keys").addEventListener("scroll", showKeys);
  new ResizeObserver(showKeys).observe(byId("keys"));
  byId("search").addEventListener("input", filterKeys);
  byId("theme").addEventListener("click", switchTheme);
  byId("help-button").addEventListener("click", KEYS["?"]);
  byId("next-wrong").addEventListener("click", () => stepWrong(1));
  byId("previous-wrong").addEventListener("click", () => stepWrong(-1));
  byId("to-violation").addEventListener("click", toViolation);
  byId("fit").addEventListener("click", KEYS[0]);
  byId("zoom-in").addEventListener("click", KEYS["+"]);
  byId("zoom-out").addEventListener("click", KEYS["-"]);
  byId("lanes").addEventListener("click", KEYS.l);
  system.addEventListener("change", () => {
    if (remembered() || system.matches === document.documentElement.classList.contains("dark")) return;
    setTheme(system.matches);
    showLegend();
    timeline.overviewImage = null;
    timeline.draw();
  });
}
