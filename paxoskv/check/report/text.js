// Values, times and operations, in words. What chunks.py calls a text arrives here as null, a boolean, a number, a
// string, or ["int", digits], ["hex", digits, size], ["cut", head, tail, size].

// Control characters, and those that turn the direction of writing: shown by their numbers, or they could lie.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

function printable(text) {
  return text.replace(UNPRINTABLE, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    return `\\u{${character.codePointAt(0).toString(16)}}`;
  });
}

function shortened(text, charactersMax) {
  if (text.length <= charactersMax) return text;
  // Both ends: lists grow at the end, and that is where two of them differ.
  const half = Math.max(1, (charactersMax - 1) >> 1);
  // No half of a character, where it was cut in one.
  return `${text.slice(0, half).replace(/[\ud800-\udbff]$/, "")}…${text.slice(-half).replace(/^[\udc00-\udfff]/, "")}`;
}

function quoted(text, charactersMax = Infinity) {
  if (text === null) return "nothing";
  if (typeof text === "string") return `"${printable(shortened(text, charactersMax))}"`;
  if (!Array.isArray(text)) return String(text);
  if (text[0] === "int") return shortened(text[1], charactersMax);
  if (text[0] === "hex") {
    const more = text[1].length < 2 * text[2];
    return `0x${shortened(text[1], charactersMax)}${more ? "…" : ""}`;
  }
  const half = charactersMax >> 1;
  const [head, tail] = charactersMax === Infinity ? [text[1], text[2]] : [text[1].slice(0, half), text[2].slice(-half)];
  return `"${printable(head)}…${printable(tail)}"`;
}

// What is known of a value's size where not all of it is shown.
function sizeNote(text) {
  if (!Array.isArray(text) || text[0] === "int") return "";
  const size = text[text.length - 1];
  if (text[0] === "hex") {
    const shown = text[1].length / 2;
    return shown < size ? `the first ${count(shown)} of ${count(size)} bytes` : `${count(size)} bytes`;
  }
  return `both ends of ${count(size)} bytes`;
}

function nameOfKey(name, charactersMax = Infinity) {
  if (name === "") return "the only key";
  return typeof name === "string" ? printable(shortened(name, charactersMax)) : quoted(name, charactersMax);
}

function count(number) {
  return number.toLocaleString("en-GB");
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function moment(time, unit) {
  if (unit === "line") return `line ${time}`;
  if (!Number.isFinite(time)) return "never";
  const text = time.toFixed(6);
  return `${text.endsWith("000") ? text.slice(0, -3) : text} s`;
}

function duration(time, unit) {
  if (unit === "line") return plural(time, "line");
  if (time >= 1) return `${time.toFixed(3)} s`;
  if (time >= 1e-3) return `${(time * 1e3).toFixed(3)} ms`;
  return `${(time * 1e6).toFixed(1)} µs`;
}

// What an operation was asked to do: ["cas", '"a" to "b"'].
function called(operation, charactersMax = Infinity) {
  const { kind, argument, condition } = operation;
  let what = "";
  if (kind === "cas") what = `${quoted(condition, charactersMax)} to ${quoted(argument, charactersMax)}`;
  else if (kind === "incr") what = `by ${quoted(argument)}`;
  else if (kind !== "get" && kind !== "delete") what = quoted(argument, charactersMax);
  if (kind !== "cas" && condition !== null) {
    what += condition === 0 ? " if absent" : ` if version ${quoted(condition)}`;
  }
  return [kind, what.trim()];
}

// What it was told: "" where that says nothing beyond its success.
function answered(operation, charactersMax = Infinity) {
  const { kind, result, outcome } = operation;
  if (outcome === "unknown") return "not answered";
  if (outcome === "failed") return "failed";
  if (outcome !== "ok") return `refused, found ${quoted(result, charactersMax)}`;
  if (kind === "get" || kind === "swap") return quoted(result, charactersMax);
  if (kind === "delete") return result === null ? "" : result ? "removed" : "found nothing";
  return result === null ? "" : quoted(result, charactersMax);
}

// For the inside of a bar.
function brief(operation, charactersMax) {
  const [kind, what] = called(operation, charactersMax);
  const answer = answered(operation, charactersMax);
  const name = kind === "incr" && operation.argument === 1 ? kind : what ? `${kind} ${what}` : kind;
  return answer ? `${name} → ${answer}` : name;
}
