// Who goes on which lane.

const LANES_FOR_CLIENTS_MAX = 64;

// 2 before 10, and "client 2" before "client 10".
const naturally = new Intl.Collator("en", { numeric: true }).compare;

// [{client, begin, end}]: the rows of each client, which lie together.
function runsOfClients(columns) {
  const runs = [];
  const { clients, length } = columns;
  for (let begin = 0; begin < length; ) {
    let end = begin + 1;
    while (end < length && clients[end] === clients[begin]) end += 1;
    runs.push({ client: report.client_names[clients[begin]], begin, end });
    begin = end;
  }
  return runs;
}

function lastMoment(columns, row) {
  return columns.finishes[row] === Infinity ? columns.starts[row] : columns.finishes[row];
}

// A client with several calls under way at once needs several lanes.
function split(columns, run) {
  const lanes = [];
  const free = [];
  for (let row = run.begin; row < run.end; row += 1) {
    let at = 0;
    while (at < free.length && free[at] > columns.starts[row]) at += 1;
    if (at === lanes.length) lanes.push({ label: run.client, rows: [], clients: [run.client] });
    lanes[at].rows.push(row);
    free[at] = lastMoment(columns, row);
  }
  for (let at = 1; at < lanes.length; at += 1) lanes[at].label = "";
  return lanes;
}

// One lane for each client, or, `together`, for clients that come one after the other: who does not know an outcome goes
// on under a new name, and after an hour of faults there are more names than anybody can look at.
function lanesOf(columns, together) {
  const lanes = runsOfClients(columns)
    .sort((left, right) => naturally(left.client, right.client))
    .flatMap((run) => split(columns, run));
  return together ? joined(columns, lanes) : lanes.map((lane) => finished(columns, lane));
}

function joined(columns, lanes) {
  const begins = (lane) => columns.starts[lane.rows[0]];
  const ends = (lane) => lastMoment(columns, lane.rows[lane.rows.length - 1]);
  const shared = [];
  for (const lane of [...lanes].sort((left, right) => begins(left) - begins(right))) {
    // Of all lanes that are free, the one that was left last: gaps stay where a client really paused.
    let best = null;
    for (const candidate of shared) {
      if (candidate.end <= begins(lane) && (best === null || candidate.end > best.end)) best = candidate;
    }
    if (best === null) {
      best = { rows: [], clients: [], end: -Infinity };
      shared.push(best);
    }
    for (const row of lane.rows) best.rows.push(row);
    if (best.clients[best.clients.length - 1] !== lane.clients[0]) best.clients.push(lane.clients[0]);
    best.end = ends(lane);
  }
  return shared.map((lane) => {
    const { clients } = lane;
    const label = clients.length === 1 ? clients[0] : `${clients[0]}, ${clients[1]}${clients.length > 2 ? " …" : ""}`;
    return finished(columns, { label, rows: lane.rows, clients });
  });
}

function finished(columns, lane) {
  const rows = Uint32Array.from(lane.rows);
  // The earliest operation that may still happen at any time: from there on the lane has an open end.
  const openRow = rows.find((row) => columns.outcomes[row] === UNKNOWN);
  const openFrom = openRow === undefined ? Infinity : columns.starts[openRow];
  return { label: lane.label, clients: lane.clients, rows, openRow, openFrom };
}

// The first of a lane's rows that ends at `time` or later, as an index of `rows`.
function firstAfter(columns, rows, time) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lastMoment(columns, rows[middle]) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
