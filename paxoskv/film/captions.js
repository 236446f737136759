// What is happening, in plain words: a sentence about a group of events, and a note on why it is so.

const NOTES = {
  Prepare: "A ballot is a numbered claim to a key: ballot 3.2 is round 3 of node 2. Of two claims the higher one wins.",
  Promised: "A promise means: I will refuse everything of a lower ballot. It leaves only once it is on the promiser's disk.",
  Accept: "Who holds promises of a majority may propose a value. It must build on the newest value that any of them has accepted.",
  Accepted: "An acceptance leaves only after it is on disk, so that no crash can take it back.",
  Refused: "A promise to a higher ballot stands in the way. The refusal names that ballot.",
  Read: "A read asks a majority which version they have accepted. It needs no disk.",
  Version: "When a majority names the same version, the reader knows that nothing newer was ever answered to anybody.",
  Fetch: "Versions travel, not values. Only who lacks a value asks for it.",
  Register: "With the value its version comes, so that nobody can mistake it for another.",
  Relay: "Instead of duelling with higher and higher ballots, the loser hands its clients' operations to the winner.",
  RelayAnswer: "The winner did the work; the node that the client asked passes the answer on.",
  NotHolder: "The key is held at another ballot by now. The operations were not taken, so nothing can happen twice.",
  Append: "The leader alone writes the log: entries, their order, and how far they are committed.",
  heartbeat: "Heartbeats say: the leader lives. While they come, nobody stands for election.",
  Appended: "A follower says up to where its log equals the leader's, once that is on its disk.",
  Rejected: "The follower's log has no such entry; the leader goes back until both agree.",
  VoteRequest: "A node that hears no leader for a while asks for votes. A vote goes only to a log that is at least as long.",
  trial: "First it asks whether it would win, so that a node that was cut off does not disturb the others (pre-vote).",
  Vote: "Each node votes once in a term, and its vote is on disk before it leaves. So a term has one leader at most.",
  Forward: "Only the leader may write the log, so the others hand it their clients' operations.",
  ReadRequest: "A read must not be answered from a log that is behind: first it asks the leader how far the log is committed.",
  ReadIndex: "Having applied the log up to there, a node may answer the read from its own memory.",
  commit: "What is on a disk survives a crash. What is only in memory does not.",
  chosen: "A majority of disks holds it. Any other majority shares a node with this one, so it can never be lost or contradicted.",
  committed: "An entry that is on a majority of disks is committed: no later leader can be without it.",
  crash: "Its memory is gone. Its disk is not.",
  start: "It reads its disk and goes on from there, with every promise that it has given.",
  call: "Any node takes any operation on any key.",
  callRaft: "Any node takes any operation; those that do not lead hand it to the leader.",
  ok: "The answer leaves only when a majority of disks has what it promises.",
  read: "The value is what a majority agrees upon, and as new as anything that anybody was told.",
  page: "Every key is as it was at some moment while the page was made.",
  unknown: "The client cannot tell whether it happened. It may yet happen, or may have happened already.",
};

const nodeName = (node) => `node ${node}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const ballotAndKey = (message) => `ballot ${message.ballot}${message.key === undefined ? "" : ` for key ${shown(message.key)}`}`;
const valueOf = (message) => (message.value === null ? "“absent”" : quoted(message.value));
const plainBallot = (version) => String(version).split("/")[0];

function keysOf(message) {
  if (message.key !== undefined) return `key ${shown(message.key)}`;
  const keys = (message.of ?? []).map((one) => shown(one.key, 16));
  if (!keys.length) return "";
  const distinct = [...new Set(keys)];
  const more = message.count > message.of.length ? [`${message.count - message.of.length} more`] : [];
  return `keys ${listed([...distinct, ...more])}`;
}

const theyOrIt = (whom, plural, singular) => (/^node \d+$/.test(whom) ? singular : plural);

const MESSAGE_SENTENCES = {
  Prepare: (m, who, whom) => `${who} asks ${whom} to promise ${ballotAndKey(m)}`,
  Promised: (m, who, whom) =>
    `${who} promises ${whom} ${m.ballot ? ballotAndKey(m) : "what it asked for"}` +
    (m.accepted && m.accepted !== "-" ? `, and says that it has accepted ${m.accepted}` : ", and has accepted nothing yet"),
  Accept: (m, who, whom) => `${who} asks ${whom} to accept ${valueOf(m)} for key ${shown(m.key)} under ballot ${plainBallot(m.ballot)}`,
  Accepted: (m, who, whom) =>
    m.ballot ? `${who} tells ${whom} that it has accepted ${m.ballot} for ${keysOf(m)}` : `${who} tells ${whom} that it has accepted ${keysOf(m) || "what it asked"}`,
  Refused: (m, who, whom) => `${who} refuses ${whom} for key ${shown(m.key)}: it has promised ballot ${m.promised}`,
  Read: (m, who, whom) => `${who} asks ${whom} which version of key ${shown(m.key)} ${theyOrIt(whom, "they have", "it has")} accepted`,
  Version: (m, who, whom) =>
    `${who} tells ${whom} that it has accepted ${m.accepted === "-" ? "nothing" : m.accepted}${m.key === undefined ? "" : ` for key ${shown(m.key)}`}`,
  Fetch: (m, who, whom) => `${who} asks ${whom} for the value of key ${shown(m.key)}`,
  Register: (m, who, whom) => `${who} sends ${whom} the value, ${valueOf(m)}, of version ${m.accepted}`,
  Pages: (m, who, whom) => `${who} asks ${whom} which keys ${theyOrIt(whom, "they have", "it has")} from ${m.start ? shown(m.start) : "the first one"} on`,
  Page: (m, who, whom) => `${who} tells ${whom} ${m.keys.length ? `the versions that it has of ${plural(m.keys.length, "key")}` : "that it has no keys there"}`,
  Relay: (m, who, whom) => `${who} hands ${whom}, which holds key ${shown(m.key)} at ballot ${m.ballot}, what its clients want: ${listed(m.operations.slice(0, 3).map((one) => shown(one)))}${m.operations.length > 3 ? ` and ${m.operations.length - 3} more` : ""}`,
  RelayAnswer: (m, who, whom) => `${who} tells ${whom} what became of the operations it handed over`,
  NotHolder: (m, who, whom) => `${who} tells ${whom} that it does not hold the key at that ballot; it has promised ${m.promised}`,
  Append: (m, who, whom) =>
    m.entries.length
      ? `${who}, leader of term ${m.term}, sends ${whom} ${entriesOf(m)}`
      : `${who}, leader of term ${m.term}, tells ${whom} that it is there, and that all up to entry ${m.committed} is committed`,
  Appended: (m, who, whom) => `${who} tells ${whom} that its log is on disk up to entry ${m.match}`,
  Rejected: (m, who, whom) => `${who} tells ${whom} that it lacks what comes before; it knows entry ${m.hint}`,
  VoteRequest: (m, who, whom) => `${who} asks ${whom} ${m.trial ? `whether ${theyOrIt(whom, "they", "it")} would vote` : "to vote"} for ${who} in term ${m.term}`,
  Vote: (m, who, whom) =>
    m.trial ? `${who} tells ${whom} that it ${m.granted ? "would" : "would not"} vote for it` : `${who} ${m.granted ? "votes for" : "does not vote for"} ${whom} in term ${m.term}`,
  Campaign: (m, who, whom) => `${who} asks ${whom} to stand for election at once`,
  Forward: (m, who, whom) => `${who} hands ${whom} what its clients want: ${listed(m.operations.slice(0, 3).map((one) => shown(one)))}${m.operations.length > 3 ? ` and ${m.operations.length - 3} more` : ""}`,
  Expected: (m, who, whom) => `${who} asks ${whom} to send operations again, from batch ${m.batch} on`,
  ReadRequest: (m, who, whom) => `${who} asks ${whom} how far the log is committed, to answer a read`,
  ReadIndex: (m, who, whom) => (m.index < 0 ? `${who} tells ${whom} that it is not the leader` : `${who} tells ${whom} that the log is committed up to entry ${m.index}`),
  Chunk: (m, who, whom) => `${who} sends ${whom} part ${m.part} of a snapshot`,
  Install: (m, who, whom) => `${who} tells ${whom} that the snapshot is complete, up to entry ${m.index}`,
  Stored: (m, who, whom) => `${who} tells ${whom} that it has stored part ${m.part} of the snapshot`,
  more: (m, who, whom) => `${who} tells ${whom} ${m.count} things more`,
};

function entriesOf(message) {
  const { entries } = message;
  const operations = entries.flatMap((entry) => entry.operations ?? []);
  const what = entries.length === 1 ? `entry ${entries[0].index}` : `entries ${entries[0].index} to ${entries[entries.length - 1].index}`;
  if (!operations.length) return `${what}, which opens its term`;
  const more = operations.length > 3 ? ` and ${operations.length - 3} more` : "";
  return `${what}: ${listed(operations.slice(0, 3).map((one) => shown(one)))}${more}`;
}

function noteKind(message) {
  if (message.kind === "Append" && !message.entries.length) return "heartbeat";
  if (message.kind === "VoteRequest" && message.trial) return "trial";
  return message.kind;
}

const noteOf = (frame) => (frame.messages.length ? NOTES[noteKind(frame.messages[0])] : "");

function sentenceOf(message, who, whom) {
  const words = MESSAGE_SENTENCES[message.kind];
  return words ? words(message, who, whom) : `${who} says ${message.kind} to ${whom}`;
}

function frameSentence(frame, whom) {
  const { messages } = frame;
  if (!messages.length) return `${capital(nodeName(frame.source))} sends ${whom} something`;
  const sentences = [sentenceOf(messages[0], nodeName(frame.source), whom)];
  if (messages.length > 1) {
    const others = messages.slice(1);
    if (others.length === 1) sentences.push(sentenceOf(others[0], "it", whom));
    else sentences.push(`says ${others.length} things more`);
  }
  return capital(sentences.join("; and "));
}

const DROP_WORDS = {
  cut: "The link is cut: ",
  lost: "Lost on the way: ",
  down: "Nobody is there to receive it: ",
  stale: "It was meant for the node before its restart, and is thrown away: ",
};

const FAULT_WORDS = {
  crash: ["Node {node} crashes", "Node {node} may start again"],
  "crash-in-turn": ["Node {node} is about to crash in the middle of its work", "Node {node} may start again"],
  kill: ["Node {node} is killed", "Node {node} is started again"],
  pause: ["Node {node} stands still: what arrives waits", "Node {node} goes on"],
  partition: ["Node {node} is cut off from all others", "Node {node} can be reached again"],
  "cut-one-way": ["Nothing gets from node {node} to node {peer} any more", "Frames get from node {node} to node {peer} again"],
  flap: ["The link between nodes {node} and {peer} comes and goes", "The link between nodes {node} and {peer} is steady again"],
  "slow-link": ["The link from node {node} to node {peer} becomes slow", "The link from node {node} to node {peer} is quick again"],
  "lossy-link": ["The link from node {node} to node {peer} loses frames", "The link from node {node} to node {peer} loses nothing any more"],
  "disk-stall": ["The disk of node {node} hangs: nothing gets onto it", "The disk of node {node} works again"],
  "disk-full": ["The disk of node {node} is full", "The disk of node {node} has room again"],
  "disk-failure": ["The next write to the disk of node {node} will fail", "The disk of node {node} is well again"],
  "clock-jump": ["The clock of node {node} jumps ahead", "The clock of node {node} runs evenly again"],
  link: ["Node {node} has no connection to node {peer}", "Node {node} is connected to node {peer}"],
};

function faultSentence(kind, node, peer, ends, text) {
  if (text) return `${ends ? "It is over: " : ""}${ends ? text : capital(text)}`;
  const words = FAULT_WORDS[kind];
  if (!words) return `${capital(kind)}${node === null ? "" : ` at node ${node}`} ${ends ? "ends" : "begins"}`;
  const all = node === null ? words[ends ? 1 : 0].replace("node {node}", "several nodes") : words[ends ? 1 : 0];
  return all.replace("Node {node}", `Node ${node}`).replaceAll("{node}", node).replaceAll("{peer}", peer);
}

// The caption of the events from index `start` up to `end`.
function caption(reel, start, end) {
  const event = reel.events[start];
  const [name, node] = event;
  switch (name) {
    case "start":
      return { text: event[2] > 1 ? `Node ${node} starts again` : `Node ${node} starts`, note: event[2] > 1 ? NOTES.start : "" };
    case "crash":
      return { text: `Node ${node} crashes`, note: NOTES.crash, tone: "bad" };
    case "journal":
      return journalCaption(reel, start, end);
    case "commit":
      return commitCaption(reel, start);
    case "state":
      return { text: `Node ${node} changes what it holds of key ${shown(event[2])}` };
    case "node":
      return roleCaption(reel, start);
    case "chosen":
      return {
        text: `${capital(nodesOf(event[4]))} hold ${event[3] === null ? `key ${shown(event[1])} as absent` : `${shown(event[1])} = ${quoted(event[3])}`} on disk under ballot ${plainBallot(event[2])}, which is a majority: it is chosen`,
        note: NOTES.chosen,
        tone: "good",
      };
    case "send":
      return sendCaption(reel, start, end);
    case "receive": {
      const frame = reel.frames[node];
      return { text: receivedSentence(frame), note: noteOf(frame) };
    }
    case "drop": {
      const frame = reel.frames[node];
      const sentence = frameSentence(frame, nodeName(frame.target));
      return { text: `${DROP_WORDS[event[2]] ?? "Lost: "}${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`, tone: "bad" };
    }
    case "call": {
      const call = reel.callOf.get(node);
      return { text: `Client ${call.client} asks node ${call.node}: ${request(call, 40)}`, note: reel.paxos ? NOTES.call : NOTES.callRaft };
    }
    case "return": {
      const call = reel.callOf.get(node);
      if (reel.accused.has(node)) {
        return { text: `Client ${call.client} is told: ${answer(call, 60)} (${request(call, 24)})`, note: `Part of what must not happen: ${reel.accused.get(node)}`, tone: "bad" };
      }
      if (call.outcome === "unknown") {
        return { text: `Client ${call.client} gets no answer to: ${request(call, 40)}`, note: NOTES.unknown, tone: "bad" };
      }
      const certainly = call.outcome === "failed" ? "is told that it certainly did not happen" : `has its answer: ${answer(call, 60)}`;
      return {
        text: `Client ${call.client} ${certainly} (${request(call, 24)})`,
        note: call.outcome !== "ok" ? "" : call.kind === "get" ? NOTES.read : call.kind === "scan" ? NOTES.page : NOTES.ok,
        tone: call.outcome === "ok" ? "good" : "bad",
      };
    }
    case "fault":
    case "heal":
      return { text: faultSentence(event[1], event[2], event[3], name === "heal", event[4]), tone: name === "heal" ? "good" : "bad" };
    case "failure":
      return { text: `This must not happen: ${event[2]}`, tone: "bad" };
    default:
      return { text: name };
  }
}

const nodesOf = (nodes) => (nodes.length === 1 ? nodeName(nodes[0]) : `nodes ${listed(nodes)}`);

function sendCaption(reel, start, end) {
  const frame = reel.frames[reel.events[start][1]];
  const targets = [];
  for (let index = start; index < end; index += 1) if (reel.events[index][0] === "send") targets.push(reel.events[index][3]);
  const everybody = targets.length > 1 && targets.length === reel.nodes.length - 1;
  const whom = everybody ? "the others" : nodesOf(targets);
  return { text: frameSentence(frame, whom), note: noteOf(frame) };
}

const RECEIVED = {
  Prepare: (m) => `the request to promise ${ballotAndKey(m)}`,
  Promised: (m) => `the promise of ${m.ballot ? ballotAndKey(m) : "its ballot"}`,
  Accept: (m) => `the request to accept ${valueOf(m)} for key ${shown(m.key)} under ballot ${plainBallot(m.ballot)}`,
  Accepted: (m) => `the acceptance of ${m.ballot ?? "what it proposed"}${keysOf(m) ? ` for ${keysOf(m)}` : ""}`,
  Refused: (m) => `the refusal: ballot ${m.promised} was promised for key ${shown(m.key)}`,
  Read: (m) => `the question which version of key ${shown(m.key)} it has`,
  Version: (m) => `the version ${m.accepted === "-" ? "nothing accepted" : m.accepted}`,
  Fetch: (m) => `the request for the value of key ${shown(m.key)}`,
  Register: (m) => `the value, ${valueOf(m)}`,
  Relay: (m) => `operations on key ${shown(m.key)} to do for another node`,
  RelayAnswer: () => "the answers to the operations it handed over",
  NotHolder: () => "that its operations were not taken",
  Append: (m) => (m.entries.length ? entriesOf(m) : "a heartbeat"),
  Appended: (m) => `that the log is there up to entry ${m.match}`,
  Rejected: () => "a rejection",
  VoteRequest: (m) => `the ${m.trial ? "question whether it would vote" : "request for its vote"} in term ${m.term}`,
  Vote: (m) => `${m.granted ? "a vote" : "a refusal to vote"}${m.trial ? " on trial" : ""} for term ${m.term}`,
  Forward: () => "operations of another node's clients",
  ReadRequest: () => "the question how far the log is committed",
  ReadIndex: (m) => (m.index < 0 ? "that it asked the wrong node" : `that the log is committed up to entry ${m.index}`),
};

function receivedSentence(frame) {
  const first = frame.messages[0];
  const what = first ? (RECEIVED[first.kind]?.(first) ?? `a ${first.kind}`) : "a frame";
  const more = frame.messages.length > 1 ? `, and ${frame.messages.length - 1} more` : "";
  return `Node ${frame.target} receives from node ${frame.source} ${what}${more}`;
}

// What a row of a node's journal holds: the changes that go with it, of keys, or of the log and the vote.
function changesOf(reel, start, end) {
  const changes = [];
  for (let index = start + 1; index < end; index += 1) {
    const event = reel.events[index];
    if (reel.paxos && event[0] === "state" && !event[6]) changes.push(keyChange(reel, index));
    else if (!reel.paxos && event[0] === "node" && !event[8]) changes.push(...logChanges(reel, index));
  }
  const distinct = [...new Set(changes)];
  return distinct.length > 2 ? [...distinct.slice(0, 2), `${distinct.length - 2} more`] : distinct;
}

function keyChange(reel, index) {
  const [, node, key, promised, accepted, value] = reel.events[index];
  const before = reel.stateHistory(node, key).at(index);
  if (accepted === "-" || before?.accepted === accepted) return `the promise of ballot ${promised} for key ${shown(key)}`;
  return `${value === null ? `${shown(key)} absent` : `${shown(key)} = ${quoted(value)}`}, accepted under ballot ${plainBallot(accepted)}`;
}

function logChanges(reel, index) {
  const [, node, , term, , last] = reel.events[index];
  const before = reel.roles.get(node)?.at(index);
  const changes = [];
  if (last && before?.last !== last) changes.push(`its log up to entry ${last}`);
  if (before && before.term !== term) changes.push(`term ${term}, and its vote in it`);
  return changes;
}

function journalCaption(reel, start, end) {
  const [, node, , bytes] = reel.events[start];
  const changes = changesOf(reel, start, end);
  return {
    text: changes.length ? `Node ${node} writes to its disk: ${listed(changes)}` : `Node ${node} writes ${plural(bytes, "byte")} to its disk`,
    note: NOTES.commit,
  };
}

function commitCaption(reel, start) {
  const [, node] = reel.events[start];
  const changes = reel.rowsOf(start).flatMap((row) => changesOf(reel, ...reel.groupBefore(row + 1)));
  const words = changes.length > 2 ? [...changes.slice(0, 2), `${changes.length - 2} more`] : changes;
  return { text: words.length ? `Node ${node} has it on disk: ${listed(words)}` : `Node ${node} has it on disk`, note: NOTES.commit };
}

function roleCaption(reel, index) {
  const [, node, role, term, leader, last, committed] = reel.events[index];
  const before = reel.roles.get(node)?.at(index);
  if (!before || before.role !== role || before.term !== term) {
    if (role === "leader") return { text: `Node ${node} has a majority of votes: it is the leader of term ${term}`, note: NOTES.Vote, tone: "good" };
    if (role === "candidate") return { text: `Node ${node} stands for election in term ${term}`, note: NOTES.VoteRequest };
    return { text: `Node ${node} is a follower in term ${term}` };
  }
  if (before.committed !== committed) {
    return { text: `Node ${node} knows that the log is committed up to entry ${committed}`, note: NOTES.committed, tone: role === "leader" ? "good" : undefined };
  }
  if (before.leader !== leader && leader) return { text: `Node ${node} follows node ${leader}` };
  if (before.last !== last) return { text: `The log of node ${node} goes up to entry ${last}` };
  return { text: `Node ${node} has applied the log to its keys` };
}
