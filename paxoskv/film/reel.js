// One trace, arranged so that what there was at any position can be looked up without playing from the start.
//
// A position is a number of events: at position 5 the first five have happened. What lasts from one event to another
// (a frame under way, a call, a row, a fault) is an interval; intervals that are open are noted at every CHECKPOINT
// events, so that a look-up walks over no more than so many. What changes (a key on a node, say) is a history, in which
// a look-up is a binary search.

const CHECKPOINT = 256;

class Intervals {
  constructor() {
    this.items = [];
    this.notes = [];
    this.firsts = [];
  }

  // In the order of their starts. `end` is the index of the event that ends it, Infinity if none does.
  add(start, end, item) {
    const interval = { ...item, start, end };
    this.items.push(interval);
    return interval;
  }

  seal(events) {
    let open = [];
    let next = 0;
    for (let position = 0; position <= events; position += CHECKPOINT) {
      while (next < this.items.length && this.items[next].start < position) open.push(this.items[next++]);
      open = open.filter((one) => one.end >= position);
      this.notes.push(open.slice());
      this.firsts.push(next);
    }
  }

  at(position) {
    const note = Math.floor(position / CHECKPOINT);
    const found = this.notes[note].filter((one) => one.end >= position);
    for (let index = this.firsts[note]; index < this.items.length && this.items[index].start < position; index += 1) {
      if (this.items[index].end >= position) found.push(this.items[index]);
    }
    return found;
  }
}

class History {
  constructor() {
    this.indices = [];
    this.values = [];
  }

  add(index, value) {
    this.indices.push(index);
    this.values.push(value);
  }

  // The last value before the position, and the index of the event that set it.
  at(position) {
    const place = upperBound(this.indices, position - 1) - 1;
    return place < 0 ? null : this.values[place];
  }

  since(position) {
    const place = upperBound(this.indices, position - 1) - 1;
    return place < 0 ? -1 : this.indices[place];
  }
}

class Reel {
  constructor(data, number) {
    Object.assign(this, data);
    this.number = number;
    this.times = Float64Array.from(data.times);
    this.paxos = data.mode !== "raft";
    this.quorum = Math.floor(data.nodes.length / 2) + 1;
    this.flights = new Intervals();
    this.calls = new Intervals();
    this.rows = new Intervals();
    this.faults = new Intervals();
    this.frames = [];
    this.lives = this.perNode();
    this.roles = this.perNode();
    this.durableRoles = this.perNode();
    this.stored = this.perNode();
    this.states = new Map();
    this.chosen = new Map();
    this.leaders = new Map();
    this.terms = [];
    this.failures = [];
    this.callOf = new Map();
    this.accused = new Map();
    this.read();
    this.group();
  }

  // Which journal events a commit ends.
  rowsOf(commit) {
    return this.committedRows[commit] ?? [];
  }

  perNode() {
    return new Map(this.nodes.map((node) => [node, new History()]));
  }

  get length() {
    return this.events.length;
  }

  stateHistory(node, key) {
    const name = `${node} ${key}`;
    if (!this.states.has(name)) this.states.set(name, new History());
    return this.states.get(name);
  }

  read() {
    const ends = this.endings();
    this.committedRows = ends.commits;
    const rows = new Map(this.nodes.map((node) => [node, 0]));
    this.events.forEach((event, index) => {
      const [name, node] = event;
      if (name === "start") this.lives.get(node)?.add(index, { up: true, incarnation: event[2] });
      else if (name === "crash") this.lives.get(node)?.add(index, { up: false, incarnation: this.lives.get(node).at(index)?.incarnation ?? 1 });
      else if (name === "send") this.addFrame(index, event, ends);
      else if (name === "journal") this.rows.add(index, ends.rows[index] ?? Infinity, { node, sequence: event[2], bytes: event[3] });
      else if (name === "commit") {
        rows.set(node, rows.get(node) + (ends.commits[index]?.length ?? 1));
        this.stored.get(node)?.add(index, rows.get(node));
      } else if (name === "state") {
        const [, , key, promised, accepted, value, durable] = event;
        this.stateHistory(node, key).add(index, { promised, accepted, value, durable, index });
      } else if (name === "node") this.addRole(index, event);
      else if (name === "chosen") {
        const [, key, version, value, holders] = event;
        if (!this.chosen.has(key)) this.chosen.set(key, new History());
        this.chosen.get(key).add(index, { version, value, holders, index });
      } else if (name === "call") {
        const [, number, client, , kind, key, argument, condition] = event;
        const end = ends.calls.get(number) ?? Infinity;
        const call = { number, client, node: event[3], kind, key, argument, condition, outcome: null };
        if (end !== Infinity) [, , call.outcome, call.status, call.value, call.version] = this.events[end];
        this.callOf.set(number, this.calls.add(index, end, call));
      } else if (name === "fault") {
        this.faults.add(index, ends.faults[index] ?? Infinity, { kind: event[1], node: event[2], peer: event[3] });
      } else if (name === "failure") this.addFailure(index, event);
    });
    for (const kind of [this.flights, this.calls, this.rows, this.faults]) kind.seal(this.length);
    // Entries that were sent before the trace begins are at least as old as those after them.
    for (let index = this.terms.length - 2; index > 0; index -= 1) this.terms[index] ??= this.terms[index + 1];
  }

  // Which event ends what others begin.
  endings() {
    const [frames, calls, rows, commits, faults] = [new Map(), new Map(), {}, {}, {}];
    const [open, striking] = [new Map(this.nodes.map((node) => [node, []])), new Map()];
    this.events.forEach((event, index) => {
      const [name, first] = event;
      if (name === "receive" || name === "drop") {
        if (!frames.has(first)) frames.set(first, []);
        frames.get(first).push(index);
      } else if (name === "return") {
        if (!calls.has(first)) calls.set(first, index);
      } else if (name === "journal") open.get(first)?.push(index);
      else if (name === "commit" || name === "crash") {
        const waiting = open.get(first) ?? [];
        const ended = [];
        while (waiting.length && (name === "crash" || this.events[waiting[0]][2] <= event[2])) {
          rows[waiting[0]] = index;
          ended.push(waiting.shift());
        }
        if (name === "commit") commits[index] = ended;
      } else if (name === "fault" || name === "heal") {
        const place = event.slice(1).join(" ");
        if (name === "fault") striking.set(place, [...(striking.get(place) ?? []), index]);
        else if (striking.get(place)?.length) faults[striking.get(place).shift()] = index;
      }
    });
    return { frames, calls, rows, commits, faults };
  }

  addFrame(index, event, ends) {
    const [, number, source, target, bytes, said] = event;
    const frame = { number, source, target, bytes, index, messages: said.map((one) => this.messages[one]), flights: [] };
    frame.ballot = this.ballotOf(frame);
    this.frames[number] = frame;
    for (const message of frame.messages) {
      for (const entry of message.entries ?? []) this.terms[entry.index] = entry.term ?? message.term;
    }
    const arrivals = ends.frames.get(number) ?? [];
    // A frame that the network doubled arrives twice: two flights, one start.
    for (const end of arrivals.length ? arrivals : [Infinity]) {
      const dropped = end !== Infinity && this.events[end][0] === "drop";
      frame.flights.push(this.flights.add(index, end, { frame, dropped, reason: dropped ? this.events[end][2] : "" }));
    }
  }

  // What must not happen is noticed in the end; the calls that prove it are where to look.
  addFailure(index, event) {
    const [, , message, numbers] = event;
    for (const number of numbers) {
      const call = this.callOf.get(number);
      if (!call) continue;
      this.accused.set(number, message);
      this.failures.push(call.end === Infinity ? call.start : call.end);
    }
    this.failures.push(index);
  }

  addRole(index, event) {
    const [, node, role, term, leader, last, committed, applied, durable] = event;
    const state = { role, term, leader, last, committed, applied, durable, index };
    this.roles.get(node)?.add(index, state);
    if (durable) this.durableRoles.get(node)?.add(index, state);
    if (role === "leader") this.leaders.set(term, node);
  }

  // The ballot, or the term, whose colour a frame has.
  ballotOf(frame) {
    for (const message of frame.messages) {
      const found = message.ballot ?? message.of?.[0]?.ballot ?? message.promised ?? message.accepted;
      if (found && found !== "-") return found;
      if (message.term) return `t${message.term}`;
    }
    return null;
  }

  // Each call has a place of its own beside its node, as long as it is to be seen: `fade` of film time past its answer.
  arrangeCalls(clock, fade) {
    const free = new Map(this.nodes.map((node) => [node, []]));
    for (const call of this.calls.items) {
      const until = free.get(call.node);
      if (!until) continue;
      const now = clock.filmOf(this.times[call.start]);
      let slot = until.findIndex((film) => film <= now);
      if (slot < 0) slot = until.length;
      until[slot] = call.end === Infinity ? Infinity : clock.filmOf(this.times[call.end]) + fade;
      call.slot = slot;
    }
  }

  // Steps: what happens at once and belongs together is one.
  group() {
    const starts = [];
    let previous = null;
    this.events.forEach((event, index) => {
      const same = previous !== null && this.times[index] === this.times[index - 1];
      const consequence = same && (event[0] === "state" || event[0] === "node");
      const fan =
        same && event[0] === "send" && previous[0] === "send" && event[2] === previous[2] && event[5].join() === previous[5].join();
      const struck = same && event[0] === "crash" && previous[0] === "fault" && previous[2] === event[1];
      if (!consequence && !fan && !struck) starts.push(index);
      previous = event;
    });
    this.groups = Uint32Array.from(starts);
  }

  // The group that ends at the position.
  groupBefore(position) {
    const place = upperBound(this.groups, position - 1) - 1;
    return place < 0 ? null : [this.groups[place], this.groups[place + 1] ?? this.length];
  }

  concerns(index, key) {
    const event = this.events[index];
    const messageConcerns = (frame) => frame.messages.some((message) => concernsKey(message, key));
    switch (event[0]) {
      case "state":
      case "journal":
      case "commit":
      case "node":
        return event[0] === "state" ? event[2] === key : true;
      case "chosen":
        return event[1] === key;
      case "call":
        return event[5] === key;
      case "return":
        return this.callOf.get(event[1])?.key === key;
      case "send":
      case "receive":
      case "drop":
        return messageConcerns(this.frames[event[1]]);
      default:
        return true;
    }
  }
}

function concernsKey(message, key) {
  if (message.key !== undefined) return message.key === key;
  if (message.of) return message.of.some((one) => one.key === key);
  if (message.entries?.length) return message.entries.some((entry) => entry.keys?.includes(key));
  if (Array.isArray(message.keys)) return message.keys.includes(key);
  return message.term !== undefined;
}

async function unpackReels() {
  const packed = Uint8Array.from(atob(byId("film").textContent.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text()).map((data, number) => new Reel(data, number));
}
