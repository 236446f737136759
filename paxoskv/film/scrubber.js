// The whole film as a line: when calls were waiting, when faults lasted, where something went wrong.

const SCRUB_TOP = 5;
const SCRUB_LANES = 26;

class Scrubber {
  constructor(reels, clock, canvas) {
    this.reels = reels;
    this.clock = clock;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.image = null;
  }

  get total() {
    return this.clock.end + this.clock.tail;
  }

  xOf(film) {
    return 6 + (clamp(film, 0, this.total) / this.total) * (this.width - 12);
  }

  filmAt(x) {
    return clamp((x - 6) / (this.width - 12), 0, 1) * this.total;
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    this.width = Math.max(100, box.width);
    this.height = box.height;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.image = null;
  }

  // What does not change while the film plays.
  background() {
    const image = document.createElement("canvas");
    image.width = this.canvas.width;
    image.height = this.canvas.height;
    const context = image.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = theme.lane;
    context.beginPath();
    context.roundRect(0, SCRUB_TOP, this.width, SCRUB_LANES, 5);
    context.fill();
    const lane = SCRUB_LANES / this.reels.length;
    this.reels.forEach((reel, number) => {
      const top = SCRUB_TOP + lane * number;
      this.paintCalls(context, reel, top, lane);
      this.paintFaults(context, reel, top, lane);
      for (const index of reel.failures) this.paintFlag(context, this.xOf(this.clock.filmOf(reel.times[index])));
    });
    this.paintScale(context);
    return image;
  }

  paintCalls(context, reel, top, lane) {
    // How many calls wait at each pixel.
    const depth = new Int32Array(Math.ceil(this.width) + 2);
    for (const call of reel.calls.items) {
      const from = Math.floor(this.xOf(this.clock.filmOf(reel.times[call.start])));
      const to = call.end === Infinity ? this.width : this.xOf(this.clock.filmOf(reel.times[call.end]));
      depth[from] += 1;
      depth[Math.min(depth.length - 1, Math.max(from + 1, Math.ceil(to)))] -= 1;
    }
    let waiting = 0;
    let most = 1;
    const levels = Array.from(depth, (change) => (waiting += change));
    for (const level of levels) most = Math.max(most, level);
    context.fillStyle = theme.soft;
    context.globalAlpha = 0.38;
    const height = lane - 9;
    levels.forEach((level, x) => {
      if (level > 0) {
        const size = Math.max(2, (level / most) * height);
        context.fillRect(x, top + lane - 2 - size, 1, size);
      }
    });
    context.globalAlpha = 1;
  }

  paintFaults(context, reel, top) {
    context.fillStyle = theme.fault;
    for (const fault of reel.faults.items) {
      const from = this.xOf(this.clock.filmOf(reel.times[fault.start]));
      const to = fault.end === Infinity ? this.xOf(this.clock.end) : this.xOf(this.clock.filmOf(reel.times[fault.end]));
      context.fillRect(from, top + 2, Math.max(3, to - from), 3);
    }
    context.fillStyle = theme.bad;
    reel.events.forEach((event, index) => {
      if (event[0] === "crash") context.fillRect(this.xOf(this.clock.filmOf(reel.times[index])) - 1, top + 2, 3, 5);
    });
  }

  paintFlag(context, x) {
    context.fillStyle = theme.bad;
    context.fillRect(x - 1, 0, 2, SCRUB_TOP + SCRUB_LANES);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x - 9, 4);
    context.lineTo(x, 8);
    context.fill();
  }

  paintScale(context) {
    context.font = `10px ${theme.sans}`;
    context.fillStyle = theme.faint;
    context.textBaseline = "alphabetic";
    const marks = Math.max(2, Math.floor(this.width / 150));
    for (let mark = 0; mark <= marks; mark += 1) {
      const film = (this.total * mark) / marks;
      context.textAlign = mark === 0 ? "left" : mark === marks ? "right" : "center";
      const x = mark === 0 ? 0 : mark === marks ? this.width : this.xOf(film);
      context.fillText(duration(this.clock.origin + this.clock.timeOf(Math.min(film, this.clock.end))), x, this.height - 1);
    }
  }

  paint(film) {
    if (!this.image) this.image = this.background();
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.image, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const x = this.xOf(film);
    context.fillStyle = theme.accent;
    context.fillRect(x - 1, 1, 2, SCRUB_TOP + SCRUB_LANES + 2);
    context.beginPath();
    context.arc(x, SCRUB_TOP + SCRUB_LANES / 2, 6, 0, 2 * Math.PI);
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = theme.panel;
    context.stroke();
  }
}
