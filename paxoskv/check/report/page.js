// The page around the timeline.

const ROW_HEIGHT = 30;
const VERDICT_WORDS = { ok: "linearizable", illegal: "not linearizable", unknown: "unknown" };
const VERDICT_MARKS = { ok: "✓", illegal: "✗", unknown: "?" };
const WAY_WORDS = {
  answer: "an answer that contradicts itself",
  chain: "the chain of versions",
  zones: "zones of values",
  counter: "the numbers of a counter",
  list: "the elements of a list",
  search: "a search",
};

// Theme.

function setTheme(dark) {
  wear(dark);
  readTheme();
}

setTheme(remembered() ? remembered() === "dark" : system.matches);

function switchTheme() {
  setTheme(!isDark());
  remember(isDark());
  showLegend();
  timeline.overviewImage = null;
  timeline.draw();
}

// Head.

function showHead() {
  document.body.classList.add(report.verdict);
  byId("mark").textContent = VERDICT_MARKS[report.verdict];
  const parts = [];
  if (report.keys_wrong) parts.push(`${count(report.keys_wrong)} of ${plural(report.keys_all, "key")} wrong`);
  if (report.keys_unknown) parts.push(`no verdict on ${count(report.keys_unknown)} of ${plural(report.keys_all, "key")}`);
  if (report.verdict === "ok") parts.push(`one order explains every answer, on ${plural(report.keys_all, "key")}`);
  parts.push(`${plural(report.operations, "operation")} of ${plural(report.clients, "client")}`);
  if (report.source) parts.push(printable(shortened(report.source, 120)));
  byId("summary").textContent = parts.join(" · ");
  const wrong = report.keys.filter((key) => key.verdict !== "ok").length;
  byId("next-wrong").hidden = byId("previous-wrong").hidden = wrong < 2;
  if (report.verdict === "unknown") byId("next-wrong").textContent = "Next undecided key";
}

// The list of keys. Only those in sight are elements.

const VERDICT_ORDER = ["illegal", "unknown", "ok"];
for (const key of report.keys) key.text = nameOfKey(key.name, 80);
report.keys.sort(
  (left, right) =>
    VERDICT_ORDER.indexOf(left.verdict) - VERDICT_ORDER.indexOf(right.verdict) || naturally(left.text, right.text),
);
let listed = report.keys.map((key, index) => index);
let chosen = -1;
let onlyVerdict = null;
const searchTexts = report.keys.map((key) => nameOfKey(key.name).toLowerCase());

function filterKeys() {
  const wanted = byId("search").value.trim().toLowerCase();
  listed = [];
  report.keys.forEach((key, index) => {
    if (onlyVerdict !== null && key.verdict !== onlyVerdict) return;
    if (searchTexts[index].includes(wanted)) listed.push(index);
  });
  byId("keys-space").style.height = `${listed.length * ROW_HEIGHT}px`;
  byId("keys").scrollTop = 0;
  const missing = report.keys_all - report.keys.length;
  byId("keys-note").textContent = !listed.length
    ? "No such key."
    : missing
      ? `The first ${count(report.keys.length)} of ${plural(report.keys_all, "key")} are listed.`
      : "";
  showKeys();
}

function showKeys() {
  const list = byId("keys");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - 3);
  const last = Math.min(listed.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + 3);
  const rows = [];
  for (let at = first; at < last; at += 1) {
    const index = listed[at];
    const key = report.keys[index];
    const row = make(
      "div",
      { className: `key ${key.verdict}`, role: "option", id: `key-${index}`, title: VERDICT_WORDS[key.verdict] },
      make("span", { className: `dot ${key.verdict}`, textContent: VERDICT_MARKS[key.verdict] }),
      make("span", { className: "name", textContent: key.text }),
      make("span", { className: "size", textContent: count(key.operations) }),
    );
    row.setAttribute("aria-selected", String(index === chosen));
    row.style.top = `${at * ROW_HEIGHT}px`;
    row.addEventListener("click", () => choose(index));
    rows.push(row);
  }
  byId("keys-space").replaceChildren(...rows);
  list.setAttribute("aria-activedescendant", chosen < 0 ? "" : `key-${chosen}`);
}

function showFilters() {
  const there = new Set(report.keys.map((key) => key.verdict));
  if (there.size < 2) return;
  const buttons = [...there].map((verdict) => {
    const number = report.keys.filter((key) => key.verdict === verdict).length;
    const button = make("button", { type: "button", textContent: `${VERDICT_MARKS[verdict]} ${count(number)}` });
    button.title = `Only keys that are ${VERDICT_WORDS[verdict]}`;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      onlyVerdict = onlyVerdict === verdict ? null : verdict;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button && onlyVerdict !== null));
      filterKeys();
    });
    return button;
  });
  byId("filters").replaceChildren(...buttons);
}

function stepThrough(indices, by) {
  if (!indices.length) return;
  const at = indices.indexOf(chosen);
  const next = at < 0 ? (by > 0 ? 0 : indices.length - 1) : (at + by + indices.length) % indices.length;
  choose(indices[next]);
  const place = listed.indexOf(indices[next]);
  if (place < 0) return;
  const list = byId("keys");
  const top = place * ROW_HEIGHT;
  if (top < list.scrollTop || top + ROW_HEIGHT > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 2;
  }
}

function stepWrong(by) {
  stepThrough(report.keys.flatMap((key, index) => (key.verdict === "ok" ? [] : [index])), by);
}

// One key.

const timeline = new Timeline(byId("timeline"));
let witnessButtons = [];

async function choose(index) {
  const key = report.keys[index];
  chosen = index;
  unpin();
  showKeys();
  byId("key-name").textContent = nameOfKey(key.name, 200);
  const verdict = byId("key-verdict");
  verdict.textContent = VERDICT_WORDS[key.verdict];
  verdict.className = key.verdict;
  showFacts(key);
  const sentence = byId("sentence");
  sentence.hidden = !key.sentence;
  sentence.className = key.verdict;
  sentence.textContent = printable(key.sentence ?? "");
  let columns = null;
  try {
    columns = await loadKey(key);
  } catch (error) {
    trouble(`The operations of this key cannot be unpacked: ${error.message ?? error}. Firefox 113, Chrome 80 and Safari 16.4 can.`);
  }
  if (chosen !== index) return;
  const witness = witnessOf(key, columns);
  showWitness(witness);
  byId("empty").hidden = columns !== null;
  byId("empty").textContent = "The operations of this key are not in the report: there were too many before it.";
  byId("timeline").hidden = columns === null;
  const placed = witness.filter((one) => one.row >= 0);
  byId("to-violation").hidden = columns === null || !placed.length;
  if (columns === null) return;
  timeline.show(columns, placed);
  if (placed.length) timeline.focus(placed.map((one) => one.row), false);
  showLegend();
  showLanesButton();
  byId("timeline").setAttribute(
    "aria-label",
    `Timeline of ${plural(columns.length, "operation")} on key ${nameOfKey(key.name, 80)}`,
  );
}

function showFacts(key) {
  const facts = [plural(key.operations, "operation")];
  if (key.rows !== undefined && key.rows < key.operations) facts.push(`${count(key.rows)} of them shown`);
  facts.push(`${key.verdict === "unknown" ? "left open" : "decided"} by ${WAY_WORDS[key.way]}: ${key.why}`);
  if (key.states) facts.push(plural(key.states, "state") + " visited");
  if (key.initial) facts.push(`held ${key.initial} at first`);
  byId("key-facts").textContent = printable(facts.join(" · "));
}

// The witness by time; the one that the sentence is about is the accused.
function witnessOf(key, columns) {
  return (key.witness ?? [])
    .map((one, at) => ({ ...one, accused: at === 0 }))
    .sort((left, right) => (columns && left.row >= 0 && right.row >= 0 ? columns.starts[left.row] - columns.starts[right.row] : 0));
}

function showWitness(witness) {
  const list = byId("witness");
  list.hidden = !witness.length;
  witnessButtons = witness.map((one, at) => {
    const button = make(
      "button",
      { type: "button", className: one.accused ? "accused" : "" },
      make("span", { className: "badge", textContent: String(at + 1) }),
      make("span", { className: "text", textContent: printable(one.text) }),
    );
    button.row = one.row;
    if (one.row >= 0) {
      button.addEventListener("pointerenter", () => timeline.hover({ row: one.row }));
      button.addEventListener("pointerleave", () => timeline.hover(null));
      button.addEventListener("click", () => timeline.focus([one.row]));
    }
    return button;
  });
  list.replaceChildren(...witnessButtons.map((button) => make("li", {}, button)));
}

function showLegend() {
  const { columns } = timeline;
  if (!columns) return;
  const kinds = new Set(columns.kinds);
  const looks = new Set(columns.outcomes);
  const lookWords = [null, "refused", "failed", "outcome unknown"];
  const items = [...kinds].sort().map((kind) => [report.kinds[kind], kind, LOOK_OK]);
  const aKind = kinds.has(KEY_OF_KIND.get("put")) ? KEY_OF_KIND.get("put") : [...kinds].sort().pop();
  for (const look of [...new Set([...looks].map((outcome) => LOOKS[outcome]))].sort()) {
    if (look !== LOOK_OK) items.push([lookWords[look], aKind, look]);
  }
  const elements = items.map(([word, kind, look]) => {
    const swatch = make("canvas", { width: 44, height: 20 });
    const context = swatch.getContext("2d");
    context.scale(2, 2);
    if (look === LOOK_UNKNOWN) {
      paintBar(context, kind, look, 0, 0, 10, 10);
      paintTail(context, kind, 8, 5, 14);
    } else paintBar(context, kind, look, 0, 0, 22, 10);
    return make("span", {}, swatch, word);
  });
  if (timeline.faultRows) {
    const swatch = make("canvas", { width: 44, height: 20 });
    const context = swatch.getContext("2d");
    context.fillStyle = theme.fault;
    context.globalAlpha = 0.3;
    context.fillRect(0, 0, 44, 20);
    elements.push(make("span", {}, swatch, "fault"));
  }
  byId("legend").replaceChildren(...elements);
}

function showLanesButton() {
  byId("lanes").textContent = timeline.together ? "A lane each" : "Fewer lanes";
  byId("lanes").hidden = new Set(timeline.columns.clients).size < 2;
}

// Statistics and faults.

function showStatistics() {
  const rows = [];
  const row = (name, value, className = "") => {
    const line = make("tr", { className }, make("th", { textContent: name, scope: "row" }));
    if (value !== null) line.append(make("td", { textContent: value }));
    rows.push(line);
  };
  row("operations", count(report.operations));
  row("clients", count(report.clients));
  row("keys", count(report.keys_all));
  row("checked in", `${report.seconds.toFixed(2)} s`);
  if (report.operations_shown < report.operations) row("in this report", plural(report.operations_shown, "operation"));
  for (const [kind, outcomes] of Object.entries(report.outcomes)) {
    row(kind, count(Object.values(outcomes).reduce((sum, each) => sum + each, 0)), "group");
    if (Object.keys(outcomes).length > 1 || !outcomes.ok) {
      for (const [outcome, number] of Object.entries(outcomes)) row(outcome, count(number), "sub");
    }
  }
  row("keys decided by", null, "group");
  for (const [way, number] of Object.entries(report.ways)) row(WAY_WORDS[way], count(number), "sub");
  byId("statistics-content").replaceChildren(make("table", {}, make("tbody", {}, ...rows)));
  byId("statistics").open = report.keys.length <= 12;
}

function showFaults() {
  byId("faults").hidden = !report.faults.length;
  const more = report.faults_all - report.faults.length;
  byId("faults-summary").textContent = `Faults (${count(report.faults_all)}${more ? `, the first ${count(report.faults.length)} shown` : ""})`;
  byId("faults-list").replaceChildren(
    ...report.faults.map((fault) => {
      const button = make(
        "button",
        { type: "button" },
        make("time", { textContent: moment(fault.start, report.time_unit) }),
        printable(fault.text || fault.kind),
      );
      button.addEventListener("click", () => {
        if (!timeline.columns) return;
        const finish = fault.finish ?? timeline.end;
        const air = (finish - fault.start) * 0.3;
        timeline.glide(fault.start - air, finish + air);
      });
      return make("li", {}, button);
    }),
  );
}
