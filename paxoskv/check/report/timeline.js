// The timeline of one key, painted: overview, axis, faults, the violation, and the lanes of clients.

class Timeline extends View {
  constructor(canvas) {
    super(canvas);
    this.context = canvas.getContext("2d");
    this.strip = new Strip();
  }

  paint() {
    const { context, ratio, width, height } = this;
    if (this.columns === null || width < GUTTER + MARGIN + 10) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.globalAlpha = 1;
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, width, height);
    this.paintBands();
    this.paintAxis();
    this.clipped(0, this.lanesTop, width, this.lanesHeight, () => this.paintLanes());
    this.paintLabels();
    if (this.witness.length) this.paintWitness();
    if (this.faultRows) this.clipped(GUTTER, this.faultsTop, this.plot, this.faultRows * FAULT_ROW, () => this.paintFaults());
    this.paintOverview();
    this.paintScrollBar();
  }

  clipped(x, y, width, height, paint) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, width, height);
    this.context.clip();
    paint();
    this.context.restore();
  }

  visible(start, finish) {
    const left = Math.max(GUTTER, this.x(start));
    const right = Math.min(GUTTER + this.plot, this.x(finish));
    return right <= GUTTER || left >= GUTTER + this.plot ? null : [left, Math.max(1, right - left)];
  }

  // Faults, behind everything.
  paintBands() {
    const { context } = this;
    context.fillStyle = theme.fault;
    context.globalAlpha = 0.1;
    for (const { start, finish } of this.faults) {
      const seen = this.visible(start, finish);
      if (seen) context.fillRect(seen[0], this.faultsTop, seen[1], this.height - this.faultsTop);
    }
    context.globalAlpha = 1;
  }

  paintFaults() {
    const { context } = this;
    context.font = "11px system-ui, sans-serif";
    for (const each of this.faults) {
      const seen = this.visible(each.start, each.finish);
      if (!seen) continue;
      const y = this.faultsTop + each.at * FAULT_ROW + 1;
      context.globalAlpha = this.hovered?.fault === each.fault ? 0.6 : 0.3;
      context.fillStyle = theme.fault;
      context.fillRect(seen[0], y, seen[1], FAULT_ROW - 2);
      context.globalAlpha = 1;
      if (seen[1] > 30) {
        context.save();
        context.beginPath();
        context.rect(seen[0], y, seen[1] - 3, FAULT_ROW);
        context.clip();
        context.fillStyle = theme.ink;
        context.fillText(printable(shortened(each.fault.text || each.fault.kind, 80)), seen[0] + 5, y + (FAULT_ROW - 2) / 2);
        context.restore();
      }
    }
  }

  paintAxis() {
    const { context } = this;
    const y = this.axisTop;
    const unit = report.time_unit;
    const span = this.to - this.from;
    const rough = span / Math.max(2, this.plot / 120);
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
    if (unit === "line") step = Math.max(1, Math.round(step));
    const decimals = Math.min(9, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
    context.font = "11px system-ui, sans-serif";
    const first = Math.ceil(this.from / step);
    const ticks = Math.min(100, Math.floor(this.to / step) - first);
    for (let tick = first; tick <= first + ticks; tick += 1) {
      const x = Math.round(this.x(tick * step)) + 0.5;
      if (x < GUTTER) continue;
      context.fillStyle = theme.line;
      context.fillRect(x - 0.5, y + AXIS - 5, 1, this.height - y);
      context.fillStyle = theme.soft;
      const text = (tick * step).toFixed(decimals) + (unit === "line" ? "" : " s");
      if (x + 4 + context.measureText(text).width < this.width) context.fillText(text, x + 4, y + AXIS / 2 + 1);
    }
    if (unit === "line") {
      context.fillStyle = theme.faint;
      context.fillText("line", 12, y + AXIS / 2 + 1);
    }
  }

  paintLanes() {
    const { context, columns, lanes, laneHeight, ratio } = this;
    const plotPixels = Math.round(this.plot * ratio);
    this.strip.resize(plotPixels);
    const scale = plotPixels / (this.to - this.from);
    const left = Math.round(GUTTER * ratio);
    const gap = laneHeight >= 8 ? 2 : laneHeight >= 5 ? 1 : 0;
    const first = Math.max(0, Math.floor(this.scroll / laneHeight));
    const last = Math.min(lanes.length, Math.ceil((this.scroll + this.lanesHeight) / laneHeight));
    const muted = this.witness.length > 0;
    const written = laneHeight >= 15;
    context.font = `11px ${theme.mono}`;
    const character = context.measureText("0").width;
    const { starts, finishes, kinds, outcomes } = columns;
    for (let at = first; at < last; at += 1) {
      const lane = lanes[at];
      const y = this.lanesTop + at * laneHeight - this.scroll;
      if (at % 2 && laneHeight >= 8) {
        context.globalAlpha = 0.55;
        context.fillStyle = theme.lane;
        context.fillRect(GUTTER, y, this.plot, laneHeight);
      }
      context.globalAlpha = muted ? MUTED : 1;
      if (lane.openFrom < this.to) this.paintOpenEnd(lane, y + laneHeight / 2);
      const { rows } = lane;
      const words = [];
      // In pixels of the screen, so that the dots lie where the bars would.
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.imageSmoothingEnabled = false;
      const top = Math.round((y + gap / 2) * ratio);
      const tall = Math.max(1, Math.round((y + laneHeight - gap / 2) * ratio) - top);
      for (let index = firstAfter(columns, rows, this.from - UNKNOWN_BAR / this.scale); index < rows.length; index += 1) {
        const row = rows[index];
        if (starts[row] > this.to) break;
        const look = LOOKS[outcomes[row]];
        const begin = (starts[row] - this.from) * scale;
        let end;
        if (look === LOOK_UNKNOWN) {
          const next = index + 1 < rows.length ? (starts[rows[index + 1]] - this.from) * scale : Infinity;
          end = Math.min(begin + UNKNOWN_BAR * ratio, next);
        } else end = (finishes[row] - this.from) * scale;
        if (end - begin < BAR_PIXELS_MIN) {
          const from = Math.floor(begin);
          const to = Math.max(from + 1, Math.round(end) - (end - begin >= 4 ? 1 : 0));
          this.strip.dot(from, to, kinds[row] * 4 + look, Math.min(1, Math.max(0.35, end - begin)));
          continue;
        }
        const from = Math.round(Math.max(begin, -20));
        const to = Math.round(Math.min(end, plotPixels + 20)) - 1;
        paintBar(context, kinds[row], look, left + from, top, to - from, tall);
        if (written && to - from > 42 * ratio) words.push(row, (left + Math.max(0, from)) / ratio, (left + to) / ratio);
      }
      this.strip.flush(context, left, top, tall);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      for (let word = 0; word < words.length; word += 3) {
        context.globalAlpha = muted ? MUTED : 1;
        this.write(words[word], words[word + 1], words[word + 2], y + laneHeight / 2, character);
      }
    }
    context.globalAlpha = 1;
    this.paintWitnessInLanes(gap);
    this.paintHovered(gap);
    context.fillStyle = theme.panel;
    context.fillRect(0, this.lanesTop, GUTTER, this.lanesHeight);
    context.fillRect(GUTTER + this.plot, this.lanesTop, MARGIN, this.lanesHeight);
  }

  // The words inside of a bar.
  write(row, left, right, y, character) {
    const { context } = this;
    const room = Math.floor((Math.min(right, GUTTER + this.plot) - left - 8) / character);
    if (room < 4) return;
    const operation = operationAt(this.columns, row);
    let text = brief(operation, Math.max(6, room >> 1));
    // Of a read, what it returned says most.
    if (text.length > room && operation.kind === "get") text = answered(operation, Math.max(4, room - 2));
    context.fillStyle = context.globalAlpha === 1 ? this.inkOn(row) : theme.ink;
    context.globalAlpha = Math.max(context.globalAlpha, 0.7);
    // Some scripts are wider than their number of characters says.
    context.fillText(text.length > room ? `${text.slice(0, room - 1)}…` : text, left + 5, y + 0.5, (room + 0.5) * character);
  }

  inkOn(row) {
    const { kinds, outcomes } = this.columns;
    return LOOKS[outcomes[row]] === LOOK_OK ? theme.inkOn[kinds[row]] : theme.ink;
  }

  paintOpenEnd(lane, y) {
    const x = Math.max(GUTTER, this.x(lane.openFrom));
    paintTail(this.context, this.columns.kinds[lane.openRow], x, y, GUTTER + this.plot - x);
  }

  paintLabels() {
    const { context, lanes, laneHeight } = this;
    const every = Math.max(1, Math.ceil(13 / laneHeight));
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = theme.soft;
    const first = Math.ceil(Math.floor(this.scroll / laneHeight) / every) * every;
    const last = Math.min(lanes.length, Math.ceil((this.scroll + this.lanesHeight) / laneHeight));
    this.clipped(0, this.lanesTop - 3, GUTTER - 8, this.lanesHeight + 6, () => {
      for (let at = first; at < last; at += every) {
        const lane = lanes[at];
        const y = this.lanesTop + (at + 0.5) * laneHeight - this.scroll;
        if (lane.clients.length > 1 || laneHeight < 13) context.fillText(printable(shortened(lane.label, 24)), 12, y);
        else if (lane.label) this.paintClient(lane.label, 12, y);
      }
    });
  }

  // "client 7", or only the name where that says enough or there is no room for more.
  paintClient(client, x, y) {
    const name = printable(shortened(client, 24));
    const words = `client ${name}`;
    const fits = this.context.measureText(words).width <= GUTTER - 10 - x;
    this.context.fillText(fits && /^[0-9]/.test(name) ? words : name, x, y);
  }

  // A violation among all the other operations.
  paintWitnessInLanes(gap) {
    const { context, laneHeight, columns } = this;
    const laneTop = (row) => this.lanesTop + this.laneOfRow[row] * laneHeight - this.scroll;
    const seen = this.witness.map((one) => {
      const [left, right] = this.extent(one.row);
      return right >= GUTTER && left <= GUTTER + this.plot;
    });
    // Threads from the words above to the places below, behind all of these.
    context.globalAlpha = 0.35;
    context.fillStyle = theme.bad;
    this.witness.forEach((one, at) => {
      const anchor = Math.max(GUTTER, this.extent(one.row)[0]);
      if (seen[at]) context.fillRect(anchor - 0.5, this.lanesTop, 1, laneTop(one.row) - this.lanesTop);
    });
    context.globalAlpha = 1;
    this.witness.forEach((one, at) => {
      if (!seen[at]) return;
      const [left, right] = this.extent(one.row);
      const y = laneTop(one.row);
      const tall = Math.max(4, laneHeight - gap);
      const [x, width] = [Math.max(left, GUTTER - 4), Math.min(right, GUTTER + this.plot + 4) - Math.max(left, GUTTER - 4)];
      context.fillStyle = theme.panel;
      context.fillRect(x - 1, y + gap / 2 - 1, width + 2, tall + 2);
      paintBar(context, columns.kinds[one.row], LOOKS[columns.outcomes[one.row]], x, y + gap / 2, width, tall);
      context.strokeStyle = theme.bad;
      context.lineWidth = 2;
      context.strokeRect(x - 1, y + gap / 2 - 1, width + 2, tall + 2);
      if (laneHeight >= 15) {
        context.font = `11px ${theme.mono}`;
        if (width > 60) this.write(one.row, x + (width > 90 ? 18 : 0), x + width, y + laneHeight / 2, context.measureText("0").width);
        paintBadge(context, String(at + 1), width > 90 ? x + 11 : x - 12, y + laneHeight / 2, one.accused);
      }
    });
  }

  paintHovered(gap) {
    if (this.hovered === null || this.hovered.row === undefined) return;
    const { context } = this;
    const { row } = this.hovered;
    const [left, right] = this.extent(row);
    const y = this.lanesTop + this.laneOfRow[row] * this.laneHeight - this.scroll;
    context.strokeStyle = theme.ink;
    context.lineWidth = 1.5;
    context.strokeRect(left - 1, y + gap / 2 - 0.5, right - left + 2, this.laneHeight - gap + 1);
  }

  // The operations of the violation, one below the other, with words, and what was over before what began.
  paintWitness() {
    const { context, columns } = this;
    const edge = GUTTER + this.plot;
    const top = this.witnessTop + 5;
    context.fillStyle = theme.bad;
    context.globalAlpha = 0.045;
    context.fillRect(0, this.witnessTop, this.width, this.witness.length * WITNESS_ROW + 8);
    context.globalAlpha = 1;
    context.fillStyle = theme.line;
    context.fillRect(0, this.lanesTop - 4, this.width, 1);
    this.clipped(GUTTER, this.witnessTop, this.plot, this.lanesTop - this.witnessTop, () => this.paintPrecedence(top));
    this.witness.forEach((one, at) => {
      const y = top + at * WITNESS_ROW;
      const middle = y + WITNESS_ROW / 2;
      const operation = operationAt(columns, one.row);
      paintBadge(context, String(at + 1), 16, middle, one.accused);
      context.font = "12px system-ui, sans-serif";
      context.fillStyle = theme.ink;
      this.clipped(28, y, GUTTER - 34, WITNESS_ROW, () => this.paintClient(operation.client, 30, middle));
      const [left, right] = this.extent(one.row);
      const open = operation.finish === Infinity;
      this.clipped(GUTTER, y, this.plot, WITNESS_ROW, () => {
        const end = Math.max(right, left + 4);
        if (open) paintTail(context, columns.kinds[one.row], left, middle, edge - left);
        const from = Math.max(left, GUTTER - 10);
        const to = Math.min(end, edge + 10);
        if (to > from) {
          paintBar(context, columns.kinds[one.row], LOOKS[columns.outcomes[one.row]], from, y + 5, to - from, WITNESS_ROW - 10);
          context.strokeStyle = theme.bad;
          context.lineWidth = one.accused || this.hovered?.row === one.row ? 2.5 : 1.25;
          context.strokeRect(from, y + 5, to - from, WITNESS_ROW - 10);
        }
        this.paintWords(operation, left, open ? left + UNKNOWN_BAR : end, middle, edge);
      });
    });
  }

  // Inside of the bar if they fit, else beside it; at the edge if the bar is out of sight.
  paintWords(operation, left, right, y, edge) {
    const { context } = this;
    context.font = `12px ${theme.mono}`;
    const words = brief(operation, 44);
    const size = context.measureText(words).width;
    const [inside, insideEnd] = [Math.max(left, GUTTER) + 7, Math.min(right, edge) - 7];
    const beside = (text, x) => {
      // With a rim, as arrows may pass behind.
      context.strokeStyle = theme.panel;
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.strokeText(text, x, y);
      context.fillStyle = theme.ink;
      context.fillText(text, x, y);
    };
    const [after, ahead] = [right + 8, left - 8 - size];
    if (right < GUTTER) beside(`◂ ${words}`, GUTTER + 6);
    else if (left > edge) beside(`${words} ▸`, edge - size - 24);
    else if (insideEnd - inside >= size) {
      context.fillStyle = this.inkOn(operation.row);
      context.fillText(words, inside, y);
    } else if (after + size <= edge || after + size - edge < GUTTER - ahead) beside(words, after);
    else beside(words, Math.max(GUTTER + 4, ahead));
  }

  // Arrows: what was over before what began, as far as it does not follow from other arrows.
  paintPrecedence(top) {
    const { context } = this;
    const { starts, finishes } = this.columns;
    const rows = this.witness.map((one) => one.row);
    const before = (one, other) => finishes[one] < starts[other];
    const [left, right] = [GUTTER - 20, GUTTER + this.plot + 20];
    context.globalAlpha = 0.7;
    context.strokeStyle = theme.bad;
    context.fillStyle = theme.bad;
    context.lineWidth = 1.25;
    rows.forEach((one, at) => {
      rows.forEach((other, below) => {
        if (!before(one, other) || rows.some((between) => before(one, between) && before(between, other))) return;
        // Along the lower edge of the bar: the words are beside its middle.
        const y = top + at * WITNESS_ROW + WITNESS_ROW - 6;
        const tip = top + below * WITNESS_ROW + 5;
        const start = this.x(starts[other]);
        const bend = Math.min(Math.max(start, left), right);
        context.beginPath();
        context.moveTo(Math.min(Math.max(this.x(finishes[one]), left), right), y);
        context.lineTo(bend, y);
        context.lineTo(bend, tip - 5);
        context.stroke();
        context.beginPath();
        context.moveTo(start - 4, tip - 6);
        context.lineTo(start + 4, tip - 6);
        context.lineTo(start, tip);
        context.fill();
      });
    });
    context.globalAlpha = 1;
  }

  // How busy the key was all the time, and which part of it is in view.
  paintOverview() {
    const { context } = this;
    this.overviewImage ??= this.makeOverview();
    context.drawImage(this.overviewImage, GUTTER, 4, this.plot, OVERVIEW - 10);
    const whole = this.end - this.begin;
    const at = (time) => GUTTER + ((time - this.begin) / whole) * this.plot;
    context.globalAlpha = 0.35;
    context.fillStyle = theme.fault;
    for (const { start, finish } of this.faults) {
      const [left, right] = [Math.max(at(start), GUTTER), Math.min(at(finish), GUTTER + this.plot)];
      context.fillRect(left, OVERVIEW - 5, Math.max(1, right - left), 3);
    }
    context.globalAlpha = 1;
    context.fillStyle = theme.bad;
    for (const one of this.witness) context.fillRect(at(this.columns.starts[one.row]) - 1, 3, 2, OVERVIEW - 9);
    const [left, right] = [at(this.from), at(this.to)];
    context.globalAlpha = 0.6;
    context.fillStyle = theme.panel;
    context.fillRect(GUTTER, 3, left - GUTTER, OVERVIEW - 8);
    context.fillRect(right, 3, GUTTER + this.plot - right, OVERVIEW - 8);
    context.globalAlpha = 1;
    context.strokeStyle = theme.soft;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, 3.5, Math.max(3, right - left - 1), OVERVIEW - 9);
    context.fillStyle = theme.faint;
    context.font = "11px system-ui, sans-serif";
    context.fillText("overview", 12, OVERVIEW / 2);
  }

  makeOverview() {
    const image = document.createElement("canvas");
    const width = Math.max(1, Math.round(this.plot * this.ratio));
    const height = Math.round((OVERVIEW - 10) * this.ratio);
    [image.width, image.height] = [width, height];
    const counts = new Uint32Array(width);
    const scale = width / (this.end - this.begin);
    const { starts, length } = this.columns;
    for (let row = 0; row < length; row += 1) {
      const column = Math.floor((starts[row] - this.begin) * scale);
      counts[Math.min(width - 1, Math.max(0, column))] += 1;
    }
    const most = counts.reduce((high, each) => Math.max(high, each), 1);
    const context = image.getContext("2d");
    context.fillStyle = theme.faint;
    for (let column = 0; column < width; column += 1) {
      if (counts[column] === 0) continue;
      const tall = Math.max(this.ratio, (counts[column] / most) * height);
      context.fillRect(column, height - tall, 1, tall);
    }
    return image;
  }

  paintScrollBar() {
    if (this.scrollMax <= 0) return;
    const { context } = this;
    const whole = this.lanes.length * this.laneHeight;
    const tall = Math.max(24, (this.lanesHeight / whole) * this.lanesHeight);
    const y = this.lanesTop + (this.scroll / this.scrollMax) * (this.lanesHeight - tall);
    context.globalAlpha = 0.5;
    context.fillStyle = theme.faint;
    context.fillRect(this.width - 8, y, 5, tall);
    context.globalAlpha = 1;
  }
}
