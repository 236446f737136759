// The one clock of all reels.
//
// Film time runs with the trace's time, but for gaps in which nothing happens: those it shortens, so that nobody waits
// minutes for a timer that takes seconds. Both are in seconds of the trace; the speed makes real ones of them.

const GAP_FLIGHTS = 1.6; // Gaps longer than so many typical flights are shortened,
const GAP_GROWTH = 0.35; // to this much for each power of e that they are longer.
const FLIGHT_S = 1.15; // A typical flight takes so long on the screen, at first.

class Clock {
  constructor(reels) {
    this.typical = typicalFlight(reels);
    this.origin = reels[0].origin;
    const times = new Float64Array(reels.reduce((sum, reel) => sum + reel.length, 0));
    let filled = 0;
    for (const reel of reels) {
      times.set(reel.times, filled);
      filled += reel.length;
    }
    times.sort();
    const kept = [0];
    for (const time of times) if (time > kept[kept.length - 1]) kept.push(time);
    this.times = Float64Array.from(kept);
    this.films = new Float64Array(kept.length);
    const bearable = this.typical * GAP_FLIGHTS;
    for (let index = 1; index < kept.length; index += 1) {
      const gap = kept[index] - kept[index - 1];
      const shown = gap <= bearable ? gap : bearable * (1 + GAP_GROWTH * Math.log(gap / bearable));
      this.films[index] = this.films[index - 1] + shown;
    }
    this.end = this.films[kept.length - 1];
    // So that the last answer can be read.
    this.tail = this.typical * 1.5;
    this.slow = clamp(FLIGHT_S / this.typical, 1, 1e6);
    this.arrangeSteps(reels);
  }

  filmOf(time) {
    return interpolated(this.times, this.films, time);
  }

  timeOf(film) {
    return interpolated(this.films, this.times, film);
  }

  // How much faster than usual the trace's time runs at a moment of the film.
  haste(film) {
    const place = clamp(upperBound(this.films, film), 1, this.films.length - 1);
    const shown = this.films[place] - this.films[place - 1];
    return shown > 0 && film <= this.end ? (this.times[place] - this.times[place - 1]) / shown : 1;
  }

  // All reels' steps in one order: for each, when it is, and the position of every reel after it.
  arrangeSteps(reels) {
    const total = reels.reduce((sum, reel) => sum + reel.groups.length, 0);
    this.stepTimes = new Float64Array(total);
    this.stepFilms = new Float64Array(total);
    this.stepReels = new Uint8Array(total);
    this.positions = reels.map(() => new Uint32Array(total + 1));
    const next = reels.map(() => 0);
    for (let step = 0; step < total; step += 1) {
      let chosen = -1;
      reels.forEach((reel, number) => {
        if (next[number] >= reel.groups.length) return;
        const time = reel.times[reel.groups[next[number]]];
        if (chosen < 0 || time < reels[chosen].times[reels[chosen].groups[next[chosen]]]) chosen = number;
      });
      const reel = reels[chosen];
      this.stepTimes[step] = reel.times[reel.groups[next[chosen]]];
      this.stepFilms[step] = this.filmOf(this.stepTimes[step]);
      this.stepReels[step] = chosen;
      next[chosen] += 1;
      reels.forEach((one, number) => {
        this.positions[number][step + 1] = number === chosen ? (one.groups[next[chosen]] ?? one.length) : this.positions[number][step];
      });
    }
  }

  get steps() {
    return this.stepTimes.length;
  }

  // How many steps have happened at a moment of the film.
  stepsAt(film) {
    return upperBound(this.stepFilms, film);
  }
}

function interpolated(from, to, value) {
  if (from.length < 2 || value <= from[0]) return to[0] + (from.length < 2 ? value - from[0] : Math.min(0, value - from[0]));
  const last = from.length - 1;
  if (value >= from[last]) return to[last] + value - from[last];
  const place = upperBound(from, value);
  const share = (value - from[place - 1]) / (from[place] - from[place - 1]);
  return to[place - 1] + share * (to[place] - to[place - 1]);
}

function typicalFlight(reels) {
  const lengths = [];
  for (const reel of reels) {
    for (const flight of reel.flights.items) {
      if (flight.end === Infinity || flight.dropped) continue;
      const length = reel.times[flight.end] - reel.times[flight.start];
      if (length > 0) lengths.push(length);
      if (lengths.length > 50_000) break;
    }
  }
  if (!lengths.length) return 1e-3;
  lengths.sort((one, other) => one - other);
  return Math.max(1e-6, lengths[Math.floor(lengths.length / 2)]);
}
