// A load generator for Gryadka: its proposers live in their user's process, so they live here, and its acceptors are
// redis-servers. Takes the options of `paxoskv bench` as JSON and prints the keys of `paxoskv bench --json`.
"use strict";
const path = require("path");
const fs = require("fs");
const modules = process.argv[2];
const given = JSON.parse(process.argv[3]);
const { Cache, AcceptorClient, Proposer } = require(path.join(modules, "gryadka"));
const redis = require(path.join(modules, "redis"));

const BIN_S = 0.01;
const FILLERS = 256;
const lua = (name) => fs.readFileSync(path.join(modules, "gryadka", "src", "lua", name + ".lua"), "utf8");

function script(port, text) {
  return new Promise((resolve, reject) => {
    const client = redis.createClient(port, "127.0.0.1");
    client.on("error", () => {});
    client.script("load", text, (error, hash) => {
      client.quit();
      error ? reject(error) : resolve(hash);
    });
  });
}

// A proposer refuses a key that it is working on, so who wants it waits in line.
class Lines {
  constructor() {
    this.waiting = new Map();
  }
  async enter(key) {
    const line = this.waiting.get(key);
    if (line === undefined) {
      this.waiting.set(key, []);
    } else {
      await new Promise((resolve) => line.push(resolve));
    }
  }
  leave(key) {
    const line = this.waiting.get(key);
    const next = line.shift();
    next === undefined ? this.waiting.delete(key) : next();
  }
}

async function proposers(count) {
  const found = [];
  for (let index = 0; index < count; index++) {
    const acceptors = [];
    for (const port of given.acceptors) {
      const [prepare, accept] = [given.scripts.prepare, given.scripts.accept];
      const acceptor = new AcceptorClient({ storage: { host: "127.0.0.1", port }, prepare, accept, isTransient: false });
      acceptor.start();
      acceptor.redis.on("error", () => {});
      acceptors.push(acceptor);
    }
    const quorum = Math.floor(given.acceptors.length / 2) + 1;
    const cache = new Cache(given.identity + index);
    found.push({ proposer: new Proposer(cache, acceptors, { read: quorum, write: quorum }), lines: new Lines(), acceptors });
  }
  return found;
}

const now = () => Number(process.hrtime.bigint()) / 1e9;
const within = (promise, seconds) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ status: "TIMEOUT" }), seconds * 1000);
    promise.then((answer) => {
      clearTimeout(timer);
      resolve(answer);
    }, () => {
      clearTimeout(timer);
      resolve({ status: "ERROR" });
    });
  });

function random(seed) {
  let state = (seed + 1) * 2654435761 >>> 0;
  return () => {
    state ^= state << 13; state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5; state >>>= 0;
    return state / 4294967296;
  };
}

function drawing() {
  if (given.distribution === "one-key") return () => 0;
  if (given.distribution !== "zipf") return (uniform) => Math.floor(uniform() * given.keys);
  const weights = [];
  let total = 0;
  for (let rank = 1; rank <= given.keys; rank++) weights.push((total += 1 / Math.pow(rank, 0.99)));
  return (uniform) => {
    const wanted = uniform() * total;
    let low = 0, high = weights.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      weights[middle] < wanted ? (low = middle + 1) : (high = middle);
    }
    return low;
  };
}

async function main() {
  given.scripts = {};
  for (const name of ["prepare", "accept"]) {
    const hashes = await Promise.all(given.acceptors.map((port) => script(port, lua(name))));
    given.scripts[name] = hashes[0];
  }
  const all = await proposers(given.proposers);
  const value = "v".repeat(given.value_size);
  const draw = drawing();
  const put = () => [value, null];
  const get = (found) => [found, null];
  const increment = (found) => [String(Number(found || 0) + 1), null];

  async function change(one, key, to) {
    const limit = now() + given.timeout_s;
    await one.lines.enter(key);
    try {
      for (;;) {
        const answer = await within(one.proposer.changeQuery(key, to, (next) => next, null), given.timeout_s);
        if (answer.status === "OK") return "OK";
        // Another proposer was quicker: nothing has happened, and one tries again.
        if (answer.status !== "NO" || now() > limit) return answer.status;
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      }
    } finally {
      one.lines.leave(key);
    }
  }

  if (given.fill && given.distribution !== "one-key") {
    let next = 0;
    await Promise.all(Array.from({ length: FILLERS }, async () => {
      while (next < given.keys) {
        const number = next++;
        await change(all[number % all.length], given.prefix + number, put);
      }
    }));
  }

  if (!given.fill) {
    // A proposer that has been at work holds its keys; this one is new, and takes them over before it is measured.
    const count = given.distribution === "one-key" ? 1 : given.keys;
    let next = 0;
    await Promise.all(Array.from({ length: FILLERS }, async () => {
      while (next < count) {
        const number = next++;
        await change(all[number % all.length], given.prefix + number, get);
      }
    }));
  }

  const latencies = [], errors = {}, ok = [], failed = [];
  let measuring = true, done = 0, unknown = 0;
  const began = now(), beganUnix = Date.now() / 1000, end = began + given.seconds;
  const usage = process.cpuUsage();
  process.stderr.write("measuring\n");
  const gaps = new Array(given.clients).fill(0), last = new Array(given.clients).fill(began);
  setTimeout(() => (measuring = false), given.seconds * 1000);
  const clients = Array.from({ length: given.clients }, async (_, client) => {
    const uniform = random(client + given.identity * 1000);
    while (measuring) {
      const number = draw(uniform);
      // A key has a proposer of its own, except where clients have one whatever the key.
      const one = all[(given.any ? client : number) % all.length];
      const sent = now();
      let status;
      if (uniform() < given.read_ratio) status = await change(one, given.prefix + number, get);
      else if (given.op === "incr") status = await change(one, given.prefix + number, increment);
      else if (given.op === "rmw") {
        status = await change(one, given.prefix + number, get);
        if (status === "OK") status = await change(one, given.prefix + number, put);
      } else status = await change(one, given.prefix + number, put);
      const at = now(), bin = Math.floor((at - began) / BIN_S);
      status === "OK" ? done++ : unknown++;
      if (!measuring) break;
      if (status === "OK") {
        latencies.push(at - sent);
        ok[bin] = (ok[bin] || 0) + 1;
        gaps[client] = Math.max(gaps[client], at - last[client]);
        last[client] = at;
      } else {
        errors[status] = (errors[status] || 0) + 1;
        failed[bin] = (failed[bin] || 0) + 1;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  });
  await Promise.race([
    Promise.all(clients),
    new Promise((resolve) => setTimeout(resolve, (given.seconds + given.timeout_s + 1) * 1000)),
  ]);
  const used = process.cpuUsage(usage);
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies.length ? 1000 * latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] : 0;
  gaps.forEach((gap, client) => (gaps[client] = 1000 * Math.max(gap, Math.min(now(), end) - last[client])));
  const result = {
    ops_per_s: latencies.length / given.seconds,
    p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1),
    errors, operations: latencies.length, duration_s: given.seconds,
    longest_gap_ms: Math.max(0, ...gaps),
    load_cpu_s: (used.user + used.system) / 1e6,
  };
  if (given.timeline) {
    const whole = (bins) => Array.from(bins, (count) => count || 0);
    Object.assign(result, { began_unix: beganUnix, timeline: { bin_ms: BIN_S * 1000, ok: whole(ok), errors: whole(failed) }, gaps_ms: gaps });
  }
  process.stdout.write(JSON.stringify(result) + "\n", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n");
  process.exit(1);
});
