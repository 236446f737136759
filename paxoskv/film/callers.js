// Clients: what they want, whether they wait, and what they were told.

function paintCalls(now) {
  const { stage, reel } = now;
  const hidden = new Map();
  const seen = [];
  for (const call of reel.calls.at(now.position)) seen.push([call, 1]);
  for (const index of now.recent) {
    const event = reel.events[index];
    if (event[0] !== "return") continue;
    const call = reel.callOf.get(event[1]);
    const alpha = clamp((2.4 - now.age(index)) / 0.5, 0, 1);
    if (call.end === index && alpha > 0) seen.push([call, alpha]);
  }
  for (const [call, alpha] of seen) {
    if (stage.filter !== null && call.key !== stage.filter) continue;
    if (!stage.cards.has(call.node)) continue;
    if (call.slot >= SLOTS_MAX) {
      if (alpha === 1) hidden.set(call.node, (hidden.get(call.node) ?? 0) + 1);
      continue;
    }
    faded(stage.context, alpha, () => paintCall(now, call));
  }
  for (const [node, number] of hidden) {
    const seat = stage.seat({ node, slot: SLOTS_MAX - 0.2 });
    stage.context.font = `11px ${theme.sans}`;
    stage.context.textAlign = "left";
    stage.context.fillStyle = theme.faint;
    stage.context.fillText(`and ${plural(number, "client")} more`, seat.x + 12, seat.y + 4);
  }
}

function paintCall(now, call) {
  const { stage, reel } = now;
  const { context } = stage;
  const { x, y, width, from, to } = stage.seat(call);
  const ended = call.end < now.position;
  const colour = reel.accused.has(call.number) ? theme.bad : !ended ? theme.soft : call.outcome === "unknown" ? theme.doubt : call.outcome === "failed" || call.status ? theme.bad : theme.good;
  stage.targets.push({ left: x, right: x + width, top: y - 12, bottom: y + 12, kind: "call", call });
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  rounded(context, x, y - 11.5, width, 23, 12);
  context.fillStyle = theme.panel;
  context.fill();
  context.strokeStyle = ended || reel.accused.has(call.number) ? colour : theme.line;
  context.stroke();
  paintMark(now, call, x + 12, y, ended, colour);
  context.textAlign = "left";
  context.font = `11.5px ${theme.sans}`;
  const number = `${call.client} `;
  context.fillStyle = theme.faint;
  context.fillText(number, x + 22, y + 0.5);
  const left = x + 22 + widthOf(context, number);
  const room = width - 8 - (left - x);
  const words = ended ? `${request(call)}: ${answer(call)}` : request(call);
  context.fillStyle = ended ? colour : theme.ink;
  let text = fitted(context, words, room);
  if (ended && text !== words) {
    // The answer matters more than what was asked.
    const told = `: ${answer(call, 30)}`;
    const rest = room - widthOf(context, told);
    text = rest > 40 ? fitted(context, request(call), rest) + told : fitted(context, answer(call, 30), room);
  }
  context.fillText(text, left, y + 0.5);
  const travel = now.clock.typical * 0.42;
  const went = (now.film - now.filmAt(call.start)) / travel;
  const comes = call.end === Infinity || call.outcome === "unknown" ? 2 : (now.filmAt(call.end) - now.film) / travel;
  const share = went < 1 ? went : !ended && comes < 1 ? comes : null;
  if (share !== null) {
    context.beginPath();
    context.arc(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, 3.5, 0, 2 * Math.PI);
    context.fillStyle = went < 1 ? theme.ink : theme.good;
    context.fill();
  }
}

function paintMark(now, call, x, y, ended, colour) {
  const { context } = now.stage;
  if (ended) {
    context.font = `700 12px ${theme.sans}`;
    context.textAlign = "center";
    context.fillStyle = colour;
    context.fillText(call.outcome === "unknown" ? "?" : call.outcome === "failed" || call.status ? "✗" : "✓", x, y + 0.5);
    return;
  }
  const turn = ((now.film - now.filmAt(call.start)) / now.clock.typical) * 2.6;
  context.lineWidth = 1.6;
  context.strokeStyle = theme.line;
  context.beginPath();
  context.arc(x, y, 4.6, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = theme.soft;
  context.beginPath();
  context.arc(x, y, 4.6, turn, turn + 1.7);
  context.stroke();
}
