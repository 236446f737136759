"""Films in a real browser: they complain of nothing, fetch nothing, and look the same however one gets somewhere."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness.browser import Page, page_or_skip

from paxoskv.film import Reel, make_reel, write_html
from paxoskv.film.scenarios import SCENARIOS, perform
from paxoskv.sim import run
from paxoskv.sim.trace import Trace
from paxoskv.trace import reading
from paxoskv.trace.reading import Event

Show = Callable[..., None]

READY = """new Promise((done) => {
  const wait = () => (film.ready && film.painted > 0 && !film.scheduled ? done() : setTimeout(wait, 5));
  wait();
})"""
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Everything that one sees of this moment.
SEEN = """film.stages.map((stage) => stage.canvas.toDataURL()).join()
  + byId("stages").innerText + byId("time").innerText"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page_or_skip(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def show(page: Page, tmp_path: Path) -> Iterator[Show]:
    """Opens a film; afterwards the browser must have had nothing to say."""
    path = tmp_path / "film.html"

    def open_film(*reels: Reel) -> None:
        write_html(path, reels)
        page.open(path)
        page.run(READY)

    page.complaints.clear()
    page.fetched.clear()
    yield open_film
    assert page.complaints == []
    assert {url for url in page.fetched if not url.startswith("data:")} == {path.absolute().as_uri()}


def scenario(name: str, mode: str = "paxos") -> Reel:
    return make_reel(perform(name, mode))


def universe(
    seed: int,
    mode: str = "paxos",
    operations: int = 60,
    extra: Sequence[Event] = (),
    changes: Sequence[str] = (),
) -> Reel:
    """What happened to a simulated cluster under faults."""
    lines: list[str] = []
    universes = run.Universes(mode, 3, operations, tuple(changes))
    run.simulate(universes.configuration(seed), Trace(lines.append))
    return make_reel([*reading.parse((line + "\n" for line in lines), "a universe"), *extra])


def at_step(page: Page, step: int) -> Any:
    page.run(f"stepTo({step})")
    page.run(FRAME)
    return page.run(SEEN)


@pytest.mark.parametrize("mode", ["paxos", "raft"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario_says_what_it_shows(page: Page, show: Show, name: str, mode: str) -> None:
    show(scenario(name, mode))
    assert page.run("byId('title').innerText") == SCENARIOS[name].title
    assert SCENARIOS[name].texts[mode] in page.run("byId('stages').innerText")
    captions = page.run(
        "Array.from({length: film.reels[0].groups.length}, (_, at) => film.reels[0].groups[at]).map((start, at, all) =>"
        " caption(film.reels[0], start, all[at + 1] ?? film.reels[0].length).text)"
    )
    for text in captions:
        assert text[0].isupper()
        assert "undefined" not in text
        assert "null" not in text
        assert "NaN" not in text


def test_stepping_forth_and_back_shows_the_same(page: Page, show: Show) -> None:
    show(scenario("takeover"))
    steps = page.run("film.clock.steps")
    forth = []
    for _ in range(0, steps, 7):
        forth.append(page.run(SEEN))
        for _ in range(7):
            page.key("ArrowRight")
        page.run(FRAME)
    assert len(set(forth)) == len(forth), "every moment looks different"
    for expected in reversed(forth):
        for _ in range(7 if page.run("film.step") == steps and steps % 7 == 0 else page.run("film.step % 7") or 7):
            page.key("ArrowLeft")
        page.run(FRAME)
        assert page.run(SEEN) == expected


@pytest.mark.parametrize(("seed", "mode"), [(17, "paxos"), (5, "raft")])
def test_a_moment_looked_up_is_the_one_that_was_played_to(page: Page, show: Show, seed: int, mode: str) -> None:
    """Checkpoints and searches answer what a walk over all events would."""
    show(universe(seed, mode))
    wrong = page.run(
        """(() => {
          const [reel] = film.reels;
          const wrong = [];
          const walk = ({ items }, position) => items.filter((one) => one.start < position && one.end >= position);
          for (let position = 0; position <= reel.length; position += 1) {
            for (const kind of ["flights", "calls", "rows", "faults"]) {
              const found = new Set(reel[kind].at(position));
              const expected = walk(reel[kind], position);
              const same = found.size === expected.length && expected.every((one) => found.has(one));
              if (!same) wrong.push([kind, position]);
            }
          }
          const held = new Map();
          reel.events.forEach((event, index) => {
            if (event[0] !== "state") return;
            held.set(`${event[1]} ${event[2]}`, event);
            for (const node of reel.nodes) for (const key of reel.keys) {
              const expected = held.get(`${node} ${key}`);
              const found = reel.stateHistory(node, key).at(index + 1);
              if ((found?.accepted ?? null) !== (expected?.[4] ?? null)) wrong.push(["state", index]);
            }
          });
          return wrong.slice(0, 5);
        })()"""
    )
    assert wrong == []
    assert page.run("film.reels[0].length") > 1000, "more than a few checkpoints"


def test_it_plays_and_pauses(page: Page, show: Show) -> None:
    show(scenario("duel"))
    assert page.run("film.playing") is False, "whoever asked for less motion begins himself"
    page.key(" ")
    page.run("new Promise((done) => { const wait = () => (film.step > 5 ? done() : setTimeout(wait, 5)); wait(); })")
    page.key(" ")
    page.run(FRAME)
    stopped = page.run(SEEN)
    page.run(FRAME)
    assert page.run(SEEN) == stopped
    # To its end, at full speed; then once more from the beginning.
    page.run("setSlow(1); play()")
    page.run("new Promise((done) => { const wait = () => (film.playing ? setTimeout(wait, 5) : done()); wait(); })")
    assert page.run("film.step") == page.run("film.clock.steps")
    page.run("setSlow(1e6); play()")
    assert page.run("film.at") < page.run("film.clock.end") / 2


def test_it_begins_by_itself_unless_somebody_minds(page: Page, tmp_path: Path) -> None:
    page.media("light", "no-preference")
    try:
        write_html(tmp_path / "moving.html", [scenario("duel")])
        page.open(tmp_path / "moving.html")
        page.run("new Promise((done) => { const wait = () => (film.at > 0 ? done() : setTimeout(wait, 5)); wait(); })")
        assert page.run("film.playing") is True
        page.run("pause()")
    finally:
        page.media("light")


def test_a_key_alone(page: Page, show: Show) -> None:
    reel = universe(9, operations=80, changes=["keys=3", "hot=0"])
    assert len(reel.keys) > 1
    show(reel)
    page.key("f")
    key = page.run("film.filter")
    assert key == sorted(reel.keys)[0]
    assert page.run("film.stages[0].keys()") == [key]
    shown = set()
    for _ in range(60):
        page.key("ArrowRight")
        shown.add(page.run("film.reels[0].events[film.reels[0].groupBefore(positionOf(film.reels[0]))[0]].join(' ')"))
    for event in shown:
        name, *fields = event.split(" ")
        if name in ("state", "chosen"):
            assert key in fields
        if name == "call":
            assert fields[4] == key
    for _ in range(len(reel.keys)):
        page.key("f")
    assert page.run("film.filter") is None


def test_the_violation_is_a_jump_away(page: Page, show: Show) -> None:
    message = 'get "a" returned "1", which <b>nobody</b> wrote'
    failure: Event = {"t": 10.0, "e": "failure", "kind": "illegal", "message": message}
    show(universe(17, extra=[failure]))
    assert page.run("byId('to-failure').hidden") is False
    page.key("v")
    page.run(FRAME)
    assert message in page.run("byId('stages').innerText")
    assert page.run("document.querySelector('.now').classList.contains('bad')") is True
    show(universe(17))
    assert page.run("byId('to-failure').hidden") is True


def test_the_calls_that_prove_a_violation_are_jumped_to_one_after_the_other(page: Page, show: Show) -> None:
    failure: Event = {
        "t": 10.0,
        "e": "failure",
        "kind": "illegal",
        "message": "two values at once",
        "calls": [9, 4, 999],
    }
    show(universe(17, extra=[failure]))
    now = "film.reels[0].events[film.reels[0].groupBefore(positionOf(film.reels[0]))[0]].slice(0, 2)"
    seen = []
    for _ in range(4):
        page.key("v")
        page.run(FRAME)
        seen.append(page.run(now))
        assert "two values at once" in page.run("byId('stages').innerText")
        assert page.run("document.querySelector('.now').classList.contains('bad')") is True
    assert sorted(seen[:2]) == [["return", 4], ["return", 9]]
    assert seen[2] == ["failure", "illegal"]
    assert seen[3] == seen[0]


def test_what_is_under_the_pointer_tells_everything(page: Page, show: Show) -> None:
    show(scenario("duel"))
    found = set()
    for step in range(0, page.run("film.clock.steps"), 3):
        page.run(f"stepTo({step})")
        page.run(FRAME)
        # A message is in the middle of its way half a flight after its step.
        page.run("lookAt(film.at + film.clock.typical * 0.4)")
        page.run(FRAME)
        places = page.run(
            "film.stages[0].targets.map((one) => { const box = film.stages[0].canvas.getBoundingClientRect();"
            "const zoom = film.stages[0].zoom; return [one.kind, box.left + zoom * (one.left + one.right) / 2,"
            "box.top + zoom * (one.top + one.bottom) / 2]; })"
        )
        for kind, x, y in places:
            if kind in found:
                continue
            page.mouse("mouseMoved", x, y)
            if page.run("byId('tip').hidden"):
                continue
            text = page.run("byId('tip').innerText")
            words = {"node": "Node", "call": "Client", "frame": "to node"}[kind]
            if words in text:
                found.add(kind)
                assert "undefined" not in text
    assert found == {"node", "call", "frame"}


def test_two_films_have_one_clock(page: Page, show: Show) -> None:
    show(scenario("takeover"), scenario("takeover", "raft"))
    assert page.run("film.stages.length") == 2
    headings = page.run("[...document.querySelectorAll('.head h2')].map((one) => one.innerText)")
    assert headings == ["Paxos", "Raft"]
    steps = page.run("film.clock.steps")
    before = (-1.0, -1.0)
    for step in range(0, steps + 1, 11):
        at_step(page, step)
        now = page.run(
            "film.reels.map((reel) => { const at = positionOf(reel); return at ? reel.times[at - 1] : -1; })"
        )
        clock = page.run("film.clock.timeOf(film.at)")
        assert all(earlier <= later <= clock + 1e-9 for earlier, later in zip(before, now, strict=True))
        before = now
    assert page.run("film.reels.every((reel) => positionOf(reel) === 0)") is False
    assert at_step(page, 20) == (at_step(page, steps), at_step(page, 20))[1]


def test_hostile_text_is_text(page: Page, show: Show) -> None:
    nasty = "</script><img src=x onerror=alert(1)>\u202e{{data}}\ud800"
    begin: Event = {
        "t": 0.0,
        "e": "begin",
        "version": 1,
        "source": "simulation",
        "mode": "paxos",
        "nodes": [1, 2],
        "title": nasty,
        "text": nasty,
    }
    call = {"e": "call", "call": 1, "client": 1, "node": 1, "kind": nasty, "argument": nasty, "condition": None}
    said = {"kind": nasty, "key": nasty, "value": nasty}
    show(
        make_reel(
            [
                begin,
                {"t": 0.1, **call, "key": nasty},
                {"t": 0.2, "e": "send", "frame": 1, "source": 1, "target": 2, "bytes": 1, "messages": [said]},
                {"t": 0.3, "e": "state", "node": 1, "key": nasty, "promised": nasty, "accepted": nasty, "value": nasty},
                {"t": 0.4, "e": "send", "frame": 2, "source": 1, "target": 99, "bytes": 1, "messages": []},
                {"t": 0.5, "e": "crash", "node": 77},
                {"t": 0.6, "e": "fault", "kind": nasty, "node": None, "peer": None},
            ]
        )
    )
    for step in range(page.run("film.clock.steps") + 1):
        at_step(page, step)
    assert page.run("document.images.length") == 0
    assert page.run("byId('title').innerText").startswith(nasty[:-1])


def test_a_hundred_thousand_events_are_no_trouble(page: Page, show: Show) -> None:
    reel = universe(17, operations=300)
    while len(reel.events) < 100_000:
        events, times = list(reel.events), list(reel.times)
        frames = 1 + max(event[1] for event in events if event[0] == "send")
        calls = 1 + max(event[1] for event in events if event[0] == "call")
        later = times[-1] + 0.01
        for event in events:
            copy = list(event)
            if copy[0] in ("send", "receive", "drop"):
                copy[1] += frames
            elif copy[0] in ("call", "return"):
                copy[1] += calls
            reel.events.append(copy)
        reel.times += [time + later for time in times]
    show(reel)
    steps = page.run("film.clock.steps")
    assert steps > 50_000
    # A moment costs what happens around it, not what happened before: late ones no more than early ones.
    walked = page.run(
        """[0.02, 0.98].map((share) => {
          const position = Math.floor(film.reels[0].length * share);
          const note = Math.floor(position / CHECKPOINT);
          return position - note * CHECKPOINT + film.reels[0].flights.notes[note].length;
        })"""
    )
    assert max(walked) < 2 * 256
    assert at_step(page, steps - 3) != at_step(page, 3)


def test_dark_and_light(page: Page, show: Show) -> None:
    show(scenario("duel"))
    light = at_step(page, 20)
    page.key("t")
    page.run(FRAME)
    assert page.run("document.documentElement.classList.contains('dark')") is True
    assert at_step(page, 20) != light
    page.key("t")
    assert at_step(page, 20) == light
    page.run("localStorage.removeItem('paxoskv-theme')")
    page.media("dark")
    page.run(FRAME)
    assert page.run("document.documentElement.classList.contains('dark')") is True
    page.media("light")


def test_small_screens(page: Page, show: Show) -> None:
    page.size(390, 800)
    try:
        show(scenario("minority"), scenario("minority", "raft"))
        assert page.run("document.documentElement.scrollWidth") <= 390
        cards = page.run(
            "film.stages.flatMap((stage) => [...stage.cards.values()].map((card) => [card.x, card.x + stage.cardWidth,"
            " stage.width]))"
        )
        for left, right, width in cards:
            assert 0 <= left < right <= width
    finally:
        page.size(1280, 800)
