// What is said of that which is under the pointer.

let pinned = false;

function row(name, content, note = "") {
  const description = make("dd");
  description.append(content);
  if (note) description.append(" ", make("span", { className: "note", textContent: `(${note})` }));
  return [make("dt", { textContent: name }), description];
}

function valueElement(text, charactersMax) {
  return make("span", { className: "value", textContent: quoted(text, charactersMax) });
}

function describeOperation(at, full) {
  const operation = operationAt(timeline.columns, at);
  const charactersMax = full ? Infinity : 400;
  const unit = report.time_unit;
  const note = (text) => sizeNote(text) || (!full && typeof text === "string" && text.length > 400 ? `${count(text.length)} characters; click to see all` : "");
  const [kind] = called(operation);
  const parts = [...row("client", printable(shortened(operation.client, full ? 10_000 : 200)))];
  if (kind === "cas") parts.push(...row("expected", valueElement(operation.condition, charactersMax), note(operation.condition)));
  else if (operation.condition !== null) {
    parts.push(...row("only if", operation.condition === 0 ? "absent" : `at version ${quoted(operation.condition)}`));
  }
  if (kind === "incr") parts.push(...row("by", quoted(operation.argument)));
  else if (operation.argument !== null) {
    const name = kind === "append" ? "suffix" : "new value";
    parts.push(...row(name, valueElement(operation.argument, charactersMax), note(operation.argument)));
  }
  parts.push(...row("outcome", OUTCOME_WORDS[operation.outcome] ?? operation.outcome));
  const answer = answerName(operation);
  if (answer) parts.push(...row(answer, valueElement(operation.result, charactersMax), note(operation.result)));
  if (operation.version !== null) parts.push(...row("version", operation.version ? count(operation.version) : "absent"));
  parts.push(...row("called", moment(operation.start, unit)));
  if (operation.finish === Infinity) parts.push(...row("answered", "never: it may take effect at any time from its call on"));
  else {
    parts.push(...row("answered", moment(operation.finish, unit), duration(operation.finish - operation.start, unit)));
  }
  parts.push(...row("number", count(operation.number)));
  const head = make("h3", {}, kind);
  const place = timeline.witness.findIndex((one) => one.row === at);
  if (place >= 0) head.append(make("span", { className: "wrong", textContent: `${place + 1} of the violation` }));
  return [head, make("dl", {}, ...parts)];
}

const OUTCOME_WORDS = {
  unknown: "unknown",
  failed: "failed: it certainly did not happen",
  "condition-failed": "refused: the condition did not hold",
  "not-an-integer": "refused: not an integer",
  "integer-overflow": "refused: the number would be too large",
  "value-too-large": "refused: the value would be too large",
};

function answerName({ kind, outcome, result }) {
  if (outcome === "unknown" || outcome === "failed") return null;
  if (outcome !== "ok") return "found";
  if (kind === "get") return "returned";
  if (kind === "swap") return "value before";
  if (result === null) return null;
  return { incr: "number after", append: "length after", delete: "was there" }[kind] ?? null;
}

function describeFault(fault) {
  const unit = report.time_unit;
  const parts = [];
  if (fault.node !== null) parts.push(...row("node", printable(fault.node)));
  parts.push(...row("from", moment(fault.start, unit)));
  parts.push(...row("to", fault.finish === null ? "the end" : moment(fault.finish, unit)));
  return [make("h3", {}, printable(fault.text || fault.kind)), make("dl", {}, ...parts)];
}

function describeTarget(target, full) {
  if (target?.row !== undefined) return describeOperation(target.row, full);
  if (target?.fault) return describeFault(target.fault);
  if (target?.lane) {
    const names = target.lane.clients.map((client) => printable(shortened(client, 60)));
    const shown = names.slice(0, 40).join(", ") + (names.length > 40 ? ` and ${count(names.length - 40)} more` : "");
    return [make("h3", {}, names.length > 1 ? "clients, one after the other" : "client"), make("div", { textContent: shown })];
  }
  return null;
}

function showTip(target, x, y, pin = false) {
  const content = describeTarget(target, pin);
  const tip = byId("tip");
  if (content === null) {
    if (!pinned) tip.hidden = true;
    return;
  }
  if (pinned && !pin) return;
  pinned = pin;
  tip.className = pin ? "pinned" : "";
  tip.replaceChildren(...content);
  if (pin) {
    const close = make("button", { type: "button", textContent: "×", title: "Close (Esc)" });
    close.addEventListener("click", unpin);
    tip.querySelector("h3").append(close);
  } else if (target.row !== undefined) tip.append(make("div", { className: "hint", textContent: "click to keep this open" }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = x + 16 + width < window.innerWidth - 8;
  tip.style.left = `${Math.max(8, right ? x + 16 : x - 16 - width)}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 14, window.innerHeight - height - 8))}px`;
  for (const button of witnessButtons) button.classList.toggle("lit", button.row === target.row);
}

function unpin() {
  pinned = false;
  byId("tip").hidden = true;
}
