// What the timeline of a key shows: which span of time, which lanes, where on the canvas, and what is there.

// Widths and heights, in CSS pixels. On the left are the names of clients.
const GUTTER = 96;
const MARGIN = 14;
const OVERVIEW = 38;
const AXIS = 24;
const FAULT_ROW = 16;
const FAULT_ROWS_MAX = 4;
const WITNESS_ROW = 30;
const LANE_MIN = 5;
const LANE_MAX = 26;
// How long the bar of an operation is that was never answered.
const UNKNOWN_BAR = 26;
// How far from an operation the pointer may be.
const REACH = 5;

const GLIDE_MS = 220;

class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.together = false;
    this.frames = 0;
    this.hovered = null;
    this.scheduled = false;
    this.columns = null;
    [this.from, this.to] = [0, 1];
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // Show a key. `witness` is [{row, accused}], by time.
  show(columns, witness) {
    this.columns = columns;
    this.witness = witness;
    this.witnessRows = new Set(witness.map((one) => one.row));
    this.hovered = null;
    this.scroll = 0;
    this.measureTime();
    this.together = false;
    this.arrange();
    const each = this.lanes.length;
    if (each > LANES_FOR_CLIENTS_MAX) {
      this.together = true;
      this.arrange();
      // Clients that are all there at the same time gain nothing, and are better found in their order.
      if (this.lanes.length > each * 0.6) {
        this.together = false;
        this.arrange();
      }
    }
    this.resize();
    this.fit(false);
  }

  // The span of all operations, and the faults in it.
  measureTime() {
    const { starts, length } = this.columns;
    let [begin, end] = [Infinity, -Infinity];
    for (let row = 0; row < length; row += 1) {
      begin = Math.min(begin, starts[row]);
      end = Math.max(end, lastMoment(this.columns, row));
    }
    if (!Number.isFinite(begin) || !Number.isFinite(end)) [begin, end] = [0, 1];
    const pad = Math.max((end - begin) * 0.015, Math.abs(begin) * 1e-11, Math.abs(end) * 1e-11, 1e-6);
    this.begin = begin - pad;
    this.end = end + pad;
    this.spanMin = Math.max((this.end - this.begin) * 1e-9, Math.abs(this.begin) * 1e-12, Math.abs(this.end) * 1e-12, 2e-7);
    const rows = [];
    this.faults = report.faults
      .filter((fault) => fault.start < this.end && (fault.finish === null || fault.finish > this.begin))
      .map((fault) => {
        const finish = fault.finish === null ? this.end : fault.finish;
        let at = rows.findIndex((busyUntil) => busyUntil <= fault.start);
        if (at < 0) at = Math.min(rows.length, FAULT_ROWS_MAX - 1);
        rows[at] = Math.max(rows[at] ?? -Infinity, finish);
        return { fault, start: fault.start, finish, at };
      });
    this.faultRows = rows.length;
  }

  arrange() {
    this.lanes = lanesOf(this.columns, this.together);
    this.laneOfRow = new Uint32Array(this.columns.length);
    this.lanes.forEach((lane, at) => {
      for (const row of lane.rows) this.laneOfRow[row] = at;
    });
    this.overviewImage = null;
  }

  setTogether(together) {
    this.together = together;
    this.arrange();
    this.layOut();
    this.scroll = 0;
    this.reveal();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = window.devicePixelRatio || 1;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.max(1, Math.round(clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * this.ratio));
    this.overviewImage = null;
    if (this.columns === null) return;
    this.layOut();
    this.draw();
  }

  layOut() {
    this.plot = Math.max(10, this.width - GUTTER - MARGIN);
    this.scale = this.plot / (this.to - this.from);
    this.axisTop = OVERVIEW;
    this.faultsTop = this.axisTop + AXIS;
    this.witnessTop = this.faultsTop + (this.faultRows ? this.faultRows * FAULT_ROW + 6 : 0);
    this.lanesTop = this.witnessTop + (this.witness.length ? this.witness.length * WITNESS_ROW + 14 : 4);
    this.lanesHeight = Math.max(20, this.height - this.lanesTop - 4);
    this.laneHeight = Math.min(LANE_MAX, Math.max(LANE_MIN, this.lanesHeight / Math.max(1, this.lanes.length)));
    this.scrollTo(this.scroll);
    // A finger that has no lanes to move up and down moves the page.
    this.canvas.style.touchAction = this.scrollMax > 0 ? "none" : "pan-y";
  }

  get scrollMax() {
    return Math.max(0, this.lanes.length * this.laneHeight - this.lanesHeight);
  }

  scrollTo(scroll) {
    this.scroll = Math.min(this.scrollMax, Math.max(0, scroll));
  }

  // Scroll so that the lanes of the violation can be seen.
  reveal() {
    if (this.witness.length && this.scrollMax > 0) {
      const lanes = this.witness.map((one) => this.laneOfRow[one.row]);
      const middle = (Math.min(...lanes) + Math.max(...lanes) + 1) / 2;
      this.scrollTo(middle * this.laneHeight - this.lanesHeight / 2);
    }
    this.draw();
  }

  // The view: time at the left and at the right of the plot.

  x(time) {
    return GUTTER + (time - this.from) * this.scale;
  }

  timeAt(x) {
    return this.from + (x - GUTTER) / this.scale;
  }

  extent(row) {
    const begin = this.x(this.columns.starts[row]);
    const finish = this.columns.finishes[row];
    return [begin, finish === Infinity ? begin + UNKNOWN_BAR : Math.max(this.x(finish), begin + 3)];
  }

  look(from, to) {
    const span = Math.min(this.end - this.begin, Math.max(this.spanMin, to - from));
    const middle = (from + to) / 2;
    this.from = Math.min(this.end - span, Math.max(this.begin, middle - span / 2));
    this.to = this.from + span;
    this.scale = this.plot / span;
    this.draw();
  }

  glide(from, to) {
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const [from0, to0, began] = [this.from, this.to, performance.now()];
    const journey = (this.journey = {});
    const step = (now) => {
      if (this.journey !== journey) return;
      const done = calm ? 1 : Math.min(1, (now - began) / GLIDE_MS);
      const eased = 1 - (1 - done) ** 3;
      // Spans shrink by factors, not by seconds.
      const span = Math.exp(Math.log(to0 - from0) * (1 - eased) + Math.log(Math.max(this.spanMin, to - from)) * eased);
      const share = to - from === to0 - from0 ? eased : (span - (to0 - from0)) / (to - from - (to0 - from0));
      const left = from0 + (from - from0) * share;
      this.look(left, left + span);
      if (done < 1) requestAnimationFrame(step);
      else this.look(from, to);
    };
    step(began);
  }

  fit(gently = true) {
    this.journey = null;
    if (gently) this.glide(this.begin, this.end);
    else this.look(this.begin, this.end);
  }

  zoom(factor, x = GUTTER + this.plot / 2) {
    this.journey = null;
    const span = Math.min(this.end - this.begin, Math.max(this.spanMin, (this.to - this.from) / factor));
    const time = this.timeAt(x);
    const share = (x - GUTTER) / this.plot;
    this.look(time - span * share, time + span * (1 - share));
  }

  pan(pixels) {
    this.journey = null;
    const time = pixels / this.scale;
    const moved = Math.min(this.end - this.to, Math.max(this.begin - this.from, time));
    this.look(this.from + moved, this.to + moved);
  }

  // Show some rows, with air around them.
  focus(rows, gently = true) {
    let [begin, end] = [Infinity, -Infinity];
    for (const row of rows) {
      begin = Math.min(begin, this.columns.starts[row]);
      end = Math.max(end, lastMoment(this.columns, row));
    }
    const span = Math.max(end - begin, this.spanMin * 10, 2e-6);
    // One operation is to be seen among its neighbours; several need room on the right, for words beside the last.
    const [before, after] = rows.length === 1 ? [3, 3] : [0.15, 0.45];
    const [from, to] = [Math.max(this.begin, begin - span * before), Math.min(this.end, end + span * after)];
    this.journey = null;
    if (gently) this.glide(from, to);
    else this.look(from, to);
    this.reveal();
  }

  // Paint, once, when the browser is about to show the next picture.
  draw() {
    if (this.scheduled || this.columns === null) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.paint();
      this.frames += 1;
    });
  }

  // What is there?

  at(x, y) {
    if (this.columns === null || x < 0 || y < 0 || x > this.width || y > this.height) return null;
    if (y < OVERVIEW) return { overview: true };
    if (this.faultRows && y >= this.faultsTop && y < this.witnessTop) {
      const row = Math.floor((y - this.faultsTop) / FAULT_ROW);
      const time = this.timeAt(x);
      const reach = 3 / this.scale;
      const found = this.faults.filter(
        (each) => each.at === row && each.start - reach <= time && each.finish + reach >= time,
      );
      return found.length ? { fault: found[found.length - 1].fault } : null;
    }
    if (this.witness.length && y >= this.witnessTop && y < this.lanesTop - 4) {
      const one = this.witness[Math.floor((y - this.witnessTop - 5) / WITNESS_ROW)];
      return one ? { row: one.row } : null;
    }
    if (y < this.lanesTop) return null;
    return this.operationNear(x, y);
  }

  operationNear(x, y) {
    const lane = this.lanes[Math.floor((y - this.lanesTop + this.scroll) / this.laneHeight)];
    if (!lane) return null;
    if (x < GUTTER) return { lane };
    const { columns } = this;
    const reach = (REACH + UNKNOWN_BAR) / this.scale;
    const time = this.timeAt(x);
    let [best, bestDistance] = [null, Infinity];
    let index = firstAfter(columns, lane.rows, time - reach);
    for (; index < lane.rows.length && columns.starts[lane.rows[index]] <= time + reach; index += 1) {
      const row = lane.rows[index];
      const [left, right] = this.extent(row);
      // Of operations in one place, those of the violation can be had first.
      const distance = Math.max(0, left - x, x - right) - (this.witnessRows.has(row) ? 0.5 : 0);
      if (distance < bestDistance) [best, bestDistance] = [row, distance];
    }
    if (best !== null && bestDistance <= REACH) return { row: best };
    if (lane.openFrom <= time && Math.abs(((y - this.lanesTop + this.scroll) % this.laneHeight) - this.laneHeight / 2) <= 4) {
      return { row: lane.openRow };
    }
    return null;
  }

  hover(target) {
    const same = this.hovered?.row === target?.row && this.hovered?.fault === target?.fault;
    this.hovered = target;
    if (!same) this.draw();
  }
}
