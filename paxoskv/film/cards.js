// A node: who it is, what it holds of each key, and its disk.

function paintCard(now, card) {
  const { stage } = now;
  const { context, cardWidth: width, cardHeight: height } = stage;
  const { x, y, node } = card;
  const up = now.isUp(node);
  const paused = now.faultsOf(node, "pause");
  stage.targets.push({ left: x, right: x + width, top: y, bottom: y + height, kind: "node", node });
  // Shadows of the canvas's own are too slow for every frame.
  context.fillStyle = theme.dark ? "rgb(0 0 0 / 16%)" : "rgb(20 30 50 / 3%)";
  for (const spread of [4, 2.5, 1]) {
    rounded(context, x - spread, y - spread + 3, width + 2 * spread, height + 2 * spread, 10 + spread);
    context.fill();
  }
  rounded(context, x, y, width, height, 10);
  context.fillStyle = theme.panel;
  context.fill();
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
