// Unpack the film, build the page, and begin.

async function begin() {
  film.reels = await unpackReels();
  film.clock = new Clock(film.reels);
  for (const reel of film.reels) reel.arrangeCalls(film.clock, film.clock.typical * 2.4);
  buildPage();
  film.scrubber = new Scrubber(film.reels, film.clock, byId("scrubber"));
  byId("scrubber").setAttribute("aria-valuemin", "0");
  byId("scrubber").setAttribute("aria-valuemax", String(film.clock.steps));
  setSlow(film.clock.slow);
  listen();
  resize();
  const wanted = /^#step=(\d+)$/.exec(window.location.hash);
  if (wanted) stepTo(Number(wanted[1]));
  else if (!calm.matches) play();
  film.ready = true;
}

begin().catch((error) => {
  trouble(`This film cannot be shown: ${error.message}`);
  throw error;
});
