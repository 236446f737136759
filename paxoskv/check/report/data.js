// The data of the report: the object that __init__.py writes, and the chunks of chunks.py, unpacked when needed.

const report = JSON.parse(document.getElementById("report").textContent);
const chunkElements = document.querySelectorAll("script.chunk");
const chunkPromises = new Map();

const KEY_OF_KIND = new Map(report.kinds.map((name, number) => [name, number]));
const OK = 0;
const FAILED = 1;
const UNKNOWN = 2;

function unshuffled(bytes, offset, length, size) {
  const plain = new Uint8Array(length * size);
  for (let place = 0; place < size; place += 1) {
    const from = offset + place * length;
    for (let index = 0; index < length; index += 1) plain[index * size + place] = bytes[from + index];
  }
  return plain.buffer;
}

async function inflated(base64) {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpacked(number) {
  const bytes = await inflated(chunkElements[number].textContent);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const chunk = { length };
  let offset = 4;
  for (const name of ["starts", "finishes", "numbers", "versions"]) {
    chunk[name] = new Float64Array(unshuffled(bytes, offset, length, 8));
    offset += 8 * length;
  }
  for (const name of ["clients", "arguments", "conditions", "results"]) {
    chunk[name] = new Uint32Array(unshuffled(bytes, offset, length, 4));
    offset += 4 * length;
  }
  chunk.kinds = bytes.subarray(offset, offset + length);
  chunk.outcomes = bytes.subarray(offset + length, offset + 2 * length);
  chunk.texts = JSON.parse(new TextDecoder().decode(bytes.subarray(offset + 2 * length)));
  return chunk;
}

// The operations of a key, as columns of its own; null where the report has none.
async function loadKey(key) {
  if (key.chunk === undefined) return null;
  if (!chunkPromises.has(key.chunk)) {
    // Only the last few are kept: a history has far more than anybody looks at.
    if (chunkPromises.size >= 4) chunkPromises.delete(chunkPromises.keys().next().value);
    chunkPromises.set(key.chunk, unpacked(key.chunk));
  }
  const chunk = await chunkPromises.get(key.chunk);
  const columns = { length: key.rows, texts: chunk.texts };
  for (const [name, column] of Object.entries(chunk)) {
    if (ArrayBuffer.isView(column)) columns[name] = column.subarray(key.offset, key.offset + key.rows);
  }
  return columns;
}

function operationAt(columns, row) {
  const { texts } = columns;
  return {
    row,
    number: columns.numbers[row],
    client: report.client_names[columns.clients[row]],
    kind: report.kinds[columns.kinds[row]],
    outcome: report.outcome_names[columns.outcomes[row]],
    start: columns.starts[row],
    finish: columns.finishes[row],
    version: columns.versions[row] < 0 ? null : columns.versions[row],
    argument: texts[columns.arguments[row]],
    condition: texts[columns.conditions[row]],
    result: texts[columns.results[row]],
  };
}
