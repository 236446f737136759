"""The report in a real browser: it complains of nothing, fetches nothing, and shows what is wrong."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.browser import Page, page_or_skip

from check import reading_reports
from check.large import large_history
from check.test_report import HOSTILE, STALE
from paxoskv.check import Fault, History, Operation, check, write_html

Show = Callable[..., None]

READY = """new Promise((done) => {
  const wait = () => (timeline.frames > 0 && !timeline.scheduled ? done() : setTimeout(wait, 5));
  wait();
})"""
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page_or_skip(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def show(page: Page, tmp_path: Path) -> Iterator[Show]:
    """Opens the report on a history; afterwards the browser must have had nothing to say."""
    path = tmp_path / "report.html"

    def open_report(history: History, **options: Any) -> None:
        write_html(path, history, check(history), **options)
        page.open(path)
        if len(history):
            page.run(READY)

    page.complaints.clear()
    page.fetched.clear()
    yield open_report
    assert page.complaints == []
    assert {url for url in page.fetched if not url.startswith("data:")} == {path.absolute().as_uri()}


def with_others() -> History:
    """A stale read, keys that are right, an unknown outcome, faults."""
    others = [Operation(10 + at, 9, "put", b"fine-%d" % at, at / 10, at / 10 + 0.05, "ok", b"x") for at in range(5)]
    unknown = Operation(30, 7, "append", b"cart", 0.62, None, "unknown", b"y")
    faults = [Fault("kill", 0.2, 0.45, 2, "kill node 2"), Fault("pause", 0.4, None, 1)]
    return History((*others, *STALE, unknown), faults)


def pixel(page: Page, x: float, y: float) -> list[int]:
    """Of the timeline, as red, green and blue."""
    found: list[int] = page.run(
        f"""(() => {{
          const copy = document.createElement("canvas").getContext("2d", {{ willReadFrequently: true }});
          copy.drawImage(timeline.canvas, -{round(x)}, -{round(y)});
          return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }})()"""
    )
    return found


def test_the_violation_is_what_one_sees_first(page: Page, show: Show) -> None:
    show(with_others())
    assert page.run("document.querySelector('h1').innerText") == "Not linearizable"
    assert page.run("byId('key-name').innerText") == "cart"
    assert "overwritten" in page.run("byId('sentence').innerText") or "newer" in page.run("byId('sentence').innerText")
    assert page.run("byId('sentence').getBoundingClientRect().bottom < innerHeight / 2")
    red = page.run("rgbOf(theme.bad)")
    places = page.run(
        """timeline.witness.map((one) => {
          const [left, right] = timeline.extent(one.row);
          const lane = timeline.lanesTop + (timeline.laneOfRow[one.row] + 0.5) * timeline.laneHeight;
          return [left, right, lane - timeline.scroll];
        })"""
    )
    assert len(places) == len(check(with_others()).violations[0].witness)
    for left, right, y in places:
        assert 96 < left < right < 1280 - 270, "all of it is in view"
        assert pixel(page, left - 1, y) == red


def test_the_browser_unpacks_what_was_packed(page: Page, show: Show, tmp_path: Path) -> None:
    show(with_others())
    rows = page.run(
        """Array.from({length: timeline.columns.length}, (_, row) => operationAt(timeline.columns, row))
        .map((one) => ({...one, finish: one.finish === Infinity ? null : one.finish}))"""
    )
    for row in rows:
        del row["row"]
    report = reading_reports.read(tmp_path / "report.html")
    assert rows == report.rows(report.data["keys"][0])
    assert len(rows) == 4


def test_an_operation_tells_everything_when_it_is_pointed_at(page: Page, show: Show) -> None:
    show(with_others())
    x, y = page.run(
        """(() => {
          const box = byId("timeline").getBoundingClientRect();
          const row = timeline.witness[timeline.witness.length - 1].row;
          const [left, right] = timeline.extent(row);
          const lane = timeline.lanesTop + (timeline.laneOfRow[row] + 0.5) * timeline.laneHeight;
          return [box.left + (left + right) / 2, box.top + lane];
        })()"""
    )
    page.mouse("mouseMoved", x, y)
    page.run(FRAME)
    shown = page.run("byId('tip').hidden ? '' : byId('tip').innerText")
    for part in ("get", "of the violation", "reader", '"apple"', "0.500 s", "0.600 s", "100.000 ms"):
        assert part in shown
    page.click(x, y)
    page.mouse("mouseMoved", 5, 5)
    assert page.run("byId('tip').className") == "pinned"
    page.key("Escape")
    assert page.run("byId('tip').hidden")


def test_fingers_move_and_zoom_and_a_tap_tells_everything(page: Page, show: Show) -> None:
    page.size(390, 844, 2, mobile=True)
    try:
        show(with_others())
        page.run("byId('stage').scrollIntoView({ block: 'end' })")
        assert page.run("document.documentElement.scrollWidth") == 390
        x, y = page.run(
            """(() => {
              const box = byId("timeline").getBoundingClientRect();
              const [left, right] = timeline.extent(timeline.witness[0].row);
              return [box.left + (left + right) / 2, box.top + timeline.witnessTop + 20];
            })()"""
        )
        page.touch([(x, y)])
        page.touch([])
        assert page.run("byId('tip').className") == "pinned"
        assert "1 of the violation" in page.run("byId('tip').innerText")
        before, after = page.run("[timeline.from, timeline.to]")
        page.touch([(200, y), (240, y)])
        page.touch([(160, y), (280, y)], "touchMove")
        page.touch([(120, y), (320, y)], "touchMove")
        page.touch([])
        left, right = page.run("[timeline.from, timeline.to]")
        assert before <= left < right <= after
        assert (right - left) < (after - before) / 3
        page.touch([(300, y)])
        page.touch([(200, y)], "touchMove")
        page.touch([])
        assert page.run("timeline.from") > left
    finally:
        page.size(1280, 800)


def test_a_window_of_another_size_shows_the_same_time(page: Page, show: Show) -> None:
    show(with_others())
    before = page.run("[timeline.from, timeline.to]")
    try:
        page.size(900, 700, 2)
        page.run(FRAME)
        assert page.run("timeline.canvas.width") == 2 * (900 - 270)
        assert page.run("[timeline.from, timeline.to]") == before
        assert page.run("timeline.x(timeline.to) - GUTTER") == pytest.approx(page.run("timeline.plot"))
    finally:
        page.size(1280, 800)


def test_the_keyboard_moves_and_zooms(page: Page, show: Show) -> None:
    show(with_others())
    page.run("timeline.fit(false)")
    begin, end = page.run("[timeline.begin, timeline.end]")

    def view() -> tuple[float, float]:
        left, right = page.run("[timeline.from, timeline.to]")
        return left, right

    whole = pytest.approx((begin, end))
    assert view() == whole
    page.key("+")
    left, right = view()
    assert math.isclose(right - left, (end - begin) / 1.5)
    page.key("ArrowRight")
    assert view()[0] > left
    page.key("ArrowLeft")
    assert math.isclose(view()[0], left)
    page.key("-")
    assert view() == whole
    for _ in range(3):
        page.key("+")
    left, right = view()
    assert right - left < 0.4
    page.key("v")
    left, right = view()
    assert left < 0.1 < 0.6 < right
    page.key("0")
    assert view() == whole
    page.key("j")
    assert page.run("byId('key-name').innerText") == "fine-0"


def test_keys_are_found_by_their_names(page: Page, show: Show) -> None:
    show(with_others())
    assert page.run("document.querySelectorAll('.key').length") == 6
    page.run("byId('search').value = 'E-3'; byId('search').dispatchEvent(new Event('input'))")
    assert page.run("[...document.querySelectorAll('.key .name')].map((one) => one.innerText)") == ["fine-3"]


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_that_clients_wrote_runs(page: Page, show: Show, value: bytes) -> None:
    name = value.decode(errors="replace")
    operations = (
        Operation(1, name, "put", value, 0.0, 1.0, "ok", value),
        Operation(2, name, "get", value, 2.0, 3.0, "ok", None, None, value + b"!"),
    )
    show(History(operations, [Fault(name, 0.0, 1.0, name, name)]), source=name)
    assert page.run("document.querySelectorAll('script:not(.chunk)').length") == 2
    page.run("showTip({ row: 1 }, 100, 100, true)")
    assert page.run(r"/[\0-\x08\x0e-\x1f\x7f\u202e]/.test(document.body.innerText)") is False
    assert page.run("document.querySelectorAll('#tip script, #keys script, #faults script').length") == 0


def test_very_long_values_and_names_break_no_layout(page: Page, show: Show) -> None:
    long = b"x" * 100_000
    operations = (
        Operation(1, "c" * 5000, "put", long, 0.0, 1.0, "ok", long),
        Operation(2, "c" * 5000, "get", long, 2.0, 3.0, "ok", None, None, long + b"!"),
    )
    show(History(operations))
    page.run("showTip({ row: 1 }, 100, 100, true)")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run("document.documentElement.scrollHeight <= innerHeight")
    assert page.run("byId('tip').getBoundingClientRect().bottom <= innerHeight")
    assert page.run("byId('tip').querySelector('.value').innerText.length") > 100_000


def test_texts_are_cut_between_characters(page: Page, show: Show) -> None:
    show(with_others())
    for characters_max in range(4, 20):
        assert "\\u{" not in page.run(f"printable(shortened('\U0001f600'.repeat(50), {characters_max}))")
    assert page.run("shortened('\u2026' + '\U0001f600'.repeat(3), 5)") == "\u2026\u2026\U0001f600"


def test_of_100_000_operations_a_frame_draws_only_as_much_as_can_be_seen(page: Page, show: Show) -> None:
    show(large_history(100_000, 64, 1, versions=True, unknown=0.001))
    page.run(
        """drawn = 0;
        for (const name of ["fillRect", "strokeRect", "fillText", "drawImage"]) {
          const paint = timeline.context[name];
          timeline.context[name] = function (...all) { drawn += 1; return paint.apply(this, all); };
        }"""
    )
    spans = (1, 0.1, 0.01, 0.001, 0.0001)
    for span in spans:
        page.run(
            f"drawn = 0; timeline.look(0.5 - {span} / 2, 0.5 + {span} / 2); timeline.scheduled = true; timeline.paint()"
        )
        page.run("timeline.scheduled = false")
        assert 100 < page.run("drawn") < 8000, f"at {span} of the whole"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_takes_the_theme_of_the_system(page: Page, show: Show, scheme: str) -> None:
    page.media(scheme)
    show(with_others())
    dark = pixel(page, 5, 790 - page.run("byId('timeline').getBoundingClientRect().top"))[0] < 60
    assert dark is (scheme == "dark")
    page.media("light")


def test_a_report_without_operations_says_so(page: Page, show: Show) -> None:
    show(History())
    assert "no operations" in page.run("byId('empty').innerText")


def test_histories_in_lines_count_lines(page: Page, show: Show) -> None:
    history = with_others()
    history.time_unit = "line"
    show(history)
    assert "line" in page.run("[...describeOperation(0, true)].map((one) => one.innerText).join()")


@pytest.mark.parametrize("start", [-1e300, -5.0, 0.0, 1.7e9, 2.0**53, 1e300])
def test_any_time_can_be_looked_at(page: Page, show: Show, start: float) -> None:
    finish = start + max(1e-6, abs(start) * 1e-9)
    show(
        History(
            [
                Operation(1, 1, "put", b"k", start, finish, "ok", b"v"),
                Operation(2, 2, "put", b"k", start, start, "ok", b"w"),
                Operation(3, 3, "put", b"k", finish, None, "unknown", b"w"),
            ]
        )
    )
    for _ in range(80):
        page.run("timeline.zoom(2)")
    page.run(FRAME)
    assert page.run("timeline.from < timeline.to && Number.isFinite(timeline.scale)")
    page.run("describeOperation(0, true); timeline.paint()")
