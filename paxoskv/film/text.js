// Words and numbers for people.

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const count = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function shortened(text, most) {
  const characters = String(text);
  return characters.length <= most ? characters : `${characters.slice(0, Math.max(1, most - 1))}…`;
}

// A value as one line: no line breaks, no control characters.
function shown(value, most = 40) {
  if (value === null || value === undefined) return "nothing";
  return shortened(String(value).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "·"), most);
}

const quoted = (value, most = 40) => (value === null || value === undefined ? "nothing" : `“${shown(value, most)}”`);

function duration(seconds) {
  const size = Math.abs(seconds);
  if (size === 0) return "0";
  if (size < 1e-3) return `${trimmed(seconds * 1e6)} µs`;
  if (size < 1) return `${trimmed(seconds * 1e3)} ms`;
  return `${trimmed(seconds)} s`;
}

function trimmed(number) {
  const digits = Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  return String(Number(number.toFixed(digits)));
}

// A moment, always with the same number of digits, so that it does not dance.
function moment(seconds, span) {
  if (span < 10) return `${(seconds * 1e3).toFixed(span < 0.01 ? 3 : 2)} ms`;
  return `${seconds.toFixed(4)} s`;
}

function listed(words, joint = "and") {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} ${joint} ${words[words.length - 1]}`;
}

// First index at which `array` is greater than `value`.
function upperBound(array, value) {
  let [low, high] = [0, array.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const KIND_WORDS = {
  get: (key) => `get ${key}`,
  put: (key, argument) => `put ${key} = ${argument}`,
  delete: (key) => `delete ${key}`,
  cas: (key, argument, condition) => `cas ${key}: ${condition} → ${argument}`,
  incr: (key, argument) => `incr ${key} by ${argument}`,
  append: (key, argument) => `append ${argument} to ${key}`,
  swap: (key, argument) => `swap ${key} for ${argument}`,
  scan: (key) => `scan from ${key || "the first key"}`,
};

function request(call, most = 18) {
  const words = KIND_WORDS[call.kind] ?? ((key) => `${call.kind} ${key}`);
  return words(shown(call.key, most), shown(call.argument, most), call.condition === null ? "absent" : shown(call.condition, most));
}

const STATUS_WORDS = { 1: "absent", 2: "condition does not hold", 3: "not an integer", 4: "too large", 5: "too large" };

function answer(call, most = 18) {
  if (call.outcome === "unknown") return "no answer";
  if (call.outcome === "failed") return "refused";
  if (call.status) return STATUS_WORDS[call.status] ?? `status ${call.status}`;
  if (call.kind === "scan") return call.value ? shown(call.value, most) : "nothing";
  if (call.kind === "get" || call.kind === "incr") return shown(call.value, most);
  return "ok";
}
