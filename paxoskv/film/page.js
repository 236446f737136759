// The page around the stages, and the film that plays in them.

const RECENT_LINES = 3;
const SLOW_MIN = 1;
const SLOW_MAX = 1e6;

const film = {
  reels: [],
  stages: [],
  captions: [],
  clock: null,
  scrubber: null,
  at: 0, // Film time.
  step: 0, // How many steps have happened.
  playing: false,
  slow: 1,
  filter: null,
  scheduled: false,
  painted: 0,
  last: 0,
  said: null,
  pointer: null,
};

// Theme.

function setTheme(dark) {
  wear(dark);
  readTheme();
  if (film.scrubber) {
    film.scrubber.image = null;
    draw();
  }
}

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
setTheme(remembered() ? remembered() === "dark" : system.matches);

function switchTheme() {
  setTheme(!isDark());
  remember(isDark());
}

// Playing.

const positionOf = (reel) => film.clock.positions[reel.number][film.step];

function lookAt(at) {
  film.at = clamp(at, 0, film.clock.end + film.clock.tail);
  film.step = film.clock.stepsAt(film.at);
  draw();
}

function stepTo(step) {
  film.step = clamp(step, 0, film.clock.steps);
  film.at = film.step ? film.clock.stepFilms[film.step - 1] : 0;
  draw();
}

function isWanted(step) {
  if (film.filter === null || step <= 0 || step > film.clock.steps) return true;
  const reel = film.reels[film.clock.stepReels[step - 1]];
  const group = reel.groupBefore(film.clock.positions[reel.number][step]);
  return reel.concerns(group[0], film.filter);
}

function stepBy(direction) {
  pause();
  let step = film.step + direction;
  while (step > 0 && step < film.clock.steps && !isWanted(step)) step += direction;
  stepTo(step);
}

function play() {
  if (film.at >= film.clock.end + film.clock.tail) lookAt(0);
  film.playing = true;
  film.last = 0;
  showPlaying();
  draw();
}

function pause() {
  film.playing = false;
  showPlaying();
}

function showPlaying() {
  byId("play-icon").setAttribute("d", film.playing ? "M4 3h3v10H4zM9 3h3v10H9z" : "M4 2.5v11L13.5 8z");
  byId("play").setAttribute("aria-label", film.playing ? "Pause" : "Play");
}

function draw() {
  if (film.scheduled) return;
  film.scheduled = true;
  requestAnimationFrame(onFrame);
}

function onFrame(now) {
  film.scheduled = false;
  if (!film.clock) return;
  if (film.playing) {
    // A page that was in the background must not leap.
    const passed = film.last ? Math.min(0.1, (now - film.last) / 1000) : 0;
    film.last = now;
    film.at = Math.min(film.at + passed / film.slow, film.clock.end + film.clock.tail);
    film.step = Math.max(film.step, film.clock.stepsAt(film.at));
    if (film.at >= film.clock.end + film.clock.tail) pause();
  }
  for (const stage of film.stages) paint(stage, positionOf(stage.reel), film.at);
  film.scrubber.paint(film.at);
  showTime();
  showCaptions();
  if (film.pointer) showTip(...film.pointer);
  film.painted += 1;
  if (film.playing) draw();
}

function showTime() {
  const { clock } = film;
  const at = Math.min(clock.timeOf(film.at), clock.timeOf(clock.end));
  const span = clock.timeOf(clock.end);
  const haste = film.playing ? clock.haste(film.at) : 1;
  byId("time").replaceChildren(
    make("b", { textContent: moment(at + clock.origin, span + clock.origin) }),
    ` of ${moment(span + clock.origin, span + clock.origin)}`,
    haste > 1.5 ? ` · a gap, ${trimmed(haste)}× faster` : "",
  );
  const scrubber = byId("scrubber");
  scrubber.setAttribute("aria-valuenow", String(film.step));
  scrubber.setAttribute("aria-valuetext", moment(at, span));
}

// Captions.

function showCaptions() {
  const state = `${film.step} ${film.filter}`;
  if (film.said === state) return;
  film.said = state;
  for (const { reel, box } of film.captions) {
    const lines = linesBefore(reel, positionOf(reel));
    const [first, ...others] = lines;
    box.now.textContent = first ? first.text : "Nothing has happened yet.";
    box.now.className = `now ${first?.tone ?? ""}`;
    box.note.textContent = first?.note ?? "";
    box.list.replaceChildren(...others.map((line) => make("li", { textContent: line.text })));
  }
}

// The captions of the last few groups before a position, the last one first.
function linesBefore(reel, position) {
  const lines = [];
  let group = reel.groupBefore(position);
  while (group && lines.length <= RECENT_LINES) {
    if (film.filter === null || reel.concerns(group[0], film.filter)) lines.push(caption(reel, ...group));
    group = reel.groupBefore(group[0]);
  }
  return lines;
}

// The page.

const MODE_NAMES = { paxos: "Paxos", raft: "Raft" };

function buildPage() {
  const { reels } = film;
  const titles = [...new Set(reels.map((reel) => reel.title || `A cluster in ${reel.mode} mode`))];
  byId("title").textContent = titles.join(" and ");
  byId("summary").textContent = reels.map(summary).join(" · ");
  for (const reel of reels) byId("stages").append(buildFilm(reel, reels.length > 1));
  const omitted = reels.map((reel) => reel.left_out).filter(Boolean);
  if (omitted.length) trouble(omitted.join(" "));
  byId("to-failure").hidden = !reels.some((reel) => reel.failures.length);
  buildFilter();
  buildLegend();
  buildHelp();
}

function summary(reel) {
  const parts = [MODE_NAMES[reel.mode] ?? reel.mode, plural(reel.nodes.length, "node"), plural(reel.calls.items.length, "call"), plural(reel.length, "event")];
  if (reel.seed !== null && reel.seed !== undefined && !reel.title) parts.push(`seed ${reel.seed}`);
  return parts.join(", ");
}

function buildFilm(reel, named) {
  const canvas = make("canvas", { role: "img", ariaLabel: `What happens in the cluster, in ${reel.mode} mode` });
  const head = make("div", { className: "head" });
  if (named) head.append(make("h2", { textContent: MODE_NAMES[reel.mode] ?? reel.mode }));
  if (reel.text) head.append(make("p", { textContent: reel.text }));
  const box = { now: make("p", { className: "now" }), note: make("p", { className: "note" }), list: make("ol") };
  film.captions.push({ reel, box });
  film.stages.push(new Stage(reel, film.clock, canvas));
  return make(
    "section",
    { className: "film" },
    head,
    make("div", { className: "stage" }, canvas),
    make("div", { className: "caption", ariaLive: "off" }, box.now, box.note, box.list),
  );
}

function allKeys() {
  return [...new Set(film.reels.flatMap((reel) => reel.keys))];
}

function buildFilter() {
  const keys = allKeys();
  const box = byId("filter");
  if (keys.length < 2) return;
  if (keys.length <= 6) {
    const buttons = [null, ...keys.slice().sort()].map((key) => {
      const button = make("button", { type: "button", textContent: key === null ? "all" : shown(key, 16) });
      button.addEventListener("click", () => setFilter(key));
      button.key = key;
      return button;
    });
    box.replaceChildren("keys", ...buttons);
  } else {
    const select = make("select", { ariaLabel: "Show one key only" });
    select.append(make("option", { value: "", textContent: "all keys" }));
    keys.slice(0, 2000).forEach((key, number) => select.append(make("option", { value: String(number + 1), textContent: shown(key, 40) })));
    select.addEventListener("change", () => setFilter(select.value ? keys[Number(select.value) - 1] : null));
    box.replaceChildren(select);
  }
  setFilter(null);
}

function setFilter(key) {
  film.filter = key;
  for (const button of byId("filter").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.key === key));
  const select = byId("filter").querySelector("select");
  if (select) select.value = key === null ? "" : String(allKeys().indexOf(key) + 1);
  for (const stage of film.stages) {
    stage.filter = key;
    if (stage.width) stage.arrange();
  }
  draw();
}

function nextFilter() {
  const keys = allKeys().sort();
  if (keys.length < 2) return;
  const place = film.filter === null ? -1 : keys.indexOf(film.filter);
  setFilter(keys[place + 1] ?? null);
}

function buildLegend() {
  const entry = (className, text) => make("span", {}, make("i", { className }), text);
  const raft = film.reels.every((reel) => !reel.paxos);
  byId("legend").replaceChildren(
    entry("question", "request"),
    entry("reply", "answer"),
    entry("memory", "in memory"),
    ...(raft
      ? [entry("written", "on disk"), entry("disk", "committed")]
      : [entry("disk", "on disk"), make("span", {}, make("b", { textContent: "✓" }), "chosen")]),
  );
}

// Speed.

function setSlow(slow) {
  film.slow = clamp(slow, SLOW_MIN, SLOW_MAX);
  byId("speed").value = String(6 - Math.log10(film.slow));
  const rounded = Number(film.slow.toPrecision(2));
  byId("speed-text").textContent = rounded <= 1 ? "as it happened" : `${count(rounded)}× slower`;
}

// To the next moment at which something is told that must not be, and from the last one to the first.
function toFailure() {
  const found = film.reels.flatMap((reel) =>
    reel.failures.map((index) => {
      // Positions only grow, so the first step past the event is where it happens.
      const positions = film.clock.positions[reel.number];
      return upperBound(positions, index);
    }),
  );
  if (!found.length) return;
  found.sort((one, other) => one - other);
  pause();
  stepTo(found.find((step) => step > film.step) ?? found[0]);
}
