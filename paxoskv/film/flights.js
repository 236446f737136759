// Frames under way, and those that were lost.

const LABELS_MAX = 16;

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
  Pages: () => "which keys?",
  Page: (m) => plural(m.keys.length, "key"),
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
    paintFlight(now, flight.frame, clamp(share, 0, 1) * far, wanted(flight), labelled);
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
    if (atOnce && age < 0.5) paintFlight(now, frame, age, wantedFrame, labelled);
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

function paintFlight(now, frame, share, wanted, labelled) {
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
  faded(context, wanted ? 1 : 0.22, () => {
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
