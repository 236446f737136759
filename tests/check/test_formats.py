"""Histories as other people's tools write them, in every format, with both verdicts, and what cannot be read."""

import io
import re
from pathlib import Path

import pytest

from paxoskv.check.checker import check
from paxoskv.check.formats import jsonl
from paxoskv.check.formats.reading import read
from paxoskv.check.formats.unreadable import Unreadable
from paxoskv.check.history import History
from paxoskv.check.verdict import Verdict

DOCS = Path(__file__).parents[2] / "docs" / "history-format.md"

GOOD = {
    "EDN, a map on each line": """
        {:process 0, :type :invoke, :f :write, :value 1}
        {:process 0, :type :ok, :f :write, :value 1}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value 1}""",
    "EDN, a list with a comment in it": """
        ({:type :invoke, :f :write, :value 0, :process 0}
         {:type :ok, :f :write, :value 0, :process 0}
         ; now it is 0
         {:type :invoke, :f :read, :value nil, :process 1}
         {:type :ok, :f :read, :value 0, :process 1})""",
    "EDN, a vector with indices, times and a nemesis": """
        [{:type :invoke, :f :read, :value nil, :process 0, :time 10, :index 0}
         {:type :info, :f :start, :process :nemesis, :value "cutting", :time 12, :index 1}
         {:type :ok, :f :read, :value nil, :process 0, :time 14, :index 2}]""",
    "EDN, keys of jepsen.independent": """
        {:process 0, :type :invoke, :f :write, :value [7 1]}
        {:process 1, :type :invoke, :f :cas, :value [8 [1 2]]}
        {:process 0, :type :ok, :f :write, :value [7 1]}
        {:process 1, :type :fail, :f :cas, :value [8 [1 2]]}
        {:process 1, :type :invoke, :f :read, :value [8 nil]}
        {:process 1, :type :ok, :f :read, :value [8 nil]}""",
    "EDN, an unknown outcome that somebody sees much later": """
        {:process 0, :type :invoke, :f :write, :value 1}
        {:process 0, :type :info, :f :write, :value :timed-out}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value nil}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value 1}""",
    "EDN, a list that is appended to": """
        {:process 0, :type :invoke, :f :append, :key "k", :value 1}
        {:process 0, :type :ok, :f :append, :key "k", :value 1}
        {:process 0, :type :invoke, :f :read, :key "k", :value nil}
        {:process 0, :type :ok, :f :read, :key "k", :value [1]}""",
    "EDN, a register that holds vectors": """
        {:process 0, :type :invoke, :f :write, :value [1 2]}
        {:process 0, :type :ok, :f :write, :value [1 2]}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value [1 2]}
        {:process 1, :type :invoke, :f :cas, :value [[1 2] []]}
        {:process 1, :type :ok, :f :cas, :value [[1 2] []]}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value []}""",
    "EDN, a list that is written and appended to": """
        {:process 0, :type :invoke, :f :write, :value [1 2]}
        {:process 0, :type :ok, :f :write, :value [1 2]}
        {:process 0, :type :invoke, :f :append, :value 3}
        {:process 0, :type :ok, :f :append, :value 3}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value [1 2 3]}
        {:process 0, :type :invoke, :f :write, :value []}
        {:process 0, :type :ok, :f :write, :value []}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value []}""",
    "EDN, maps in another order": """
        {:process 0, :type :invoke, :f :write, :value {:a 1, :b #{{:c 1, :d 2}}}}
        {:process 0, :type :ok, :f :write, :value {:a 1, :b #{{:c 1, :d 2}}}}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value {:b #{{:d 2, :c 1}}, :a 1}}""",
    "EDN, transactions of which one has an error and no value": """
        {:process 0, :type :invoke, :f :txn, :value [[:append 1 2]]}
        {:process 0, :type :info, :f :txn, :value nil, :error :timed-out}
        {:process 1, :type :invoke, :f :txn, :value [[:r 1 nil]]}
        {:process 1, :type :fail, :f :txn, :value :conflict}
        {:process 1, :type :invoke, :f :txn, :value [[:r 1 nil]]}
        {:process 1, :type :ok, :f :txn, :value [[:r 1 [2]]]}""",
    "EDN, a character in two halves": """
        {:process 0, :type :invoke, :f :write, :value "\\ud83d\\ude00"}
        {:process 0, :type :ok, :f :write, :value "\\ud83d\\ude00"}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value "\U0001f600"}""",
    "a log": """
        INFO  jepsen.util - 0\t:invoke\t:read\tnil
        something else
        INFO  jepsen.util - 2\t:invoke\t:write\t4
        INFO  jepsen.util - 0\t:ok\t:read\t4
        INFO  jepsen.util - 2\t:info\t:write\t:timed-out
        INFO  jepsen.util - 1\t:invoke\t:cas\t[4 3]
        INFO  jepsen.util - 1\t:ok\t:cas\t[4 3]""",
    "JSON Lines": """
        {"client": 1, "kind": "put", "key": "x", "value": "a", "start": 0, "finish": 1}

        {"client": 2, "kind": "get", "key": "x", "start": 2, "finish": 3, "result": "a"}""",
    "JSON Lines, all fields in all of them": """
        {"key": "x", "initial": "b", "version": null}
        {"key": "x", "initial": "b", "version": null}
        {"client": 1, "kind": "put", "key": "x", "value": "a", "expected": null, "by": 0, "start": 0, "finish": 1}
        {"client": 2, "kind": "get", "key": "x", "value": "", "expected": "", "start": 2, "finish": 3, "result": "a"}
        {"client": 2, "kind": "delete", "key": "x", "value": null, "start": 4, "finish": 5, "result": true}""",
}
BAD = {
    "EDN, a map on each line": """
        {:process 0, :type :invoke, :f :write, :value 1}
        {:process 0, :type :ok, :f :write, :value 1}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value nil}""",
    "EDN, a value that only a failed write had": """
        [{:type :invoke, :process 1, :f :read, :value nil}
        {:type :invoke, :process 101, :f :write, :value 3}
        {:type :fail, :process 101, :f :write, :value 3, :error [:temporarily-unavailable nil]}
        {:type :ok, :process 1, :f :read, :value 3}]""",
    "EDN, two of the same cas": """
        {:process 0, :type :invoke, :f :cas, :value [nil 1]}
        {:process 1, :type :invoke, :f :cas, :value [nil 2]}
        {:process 0, :type :ok, :f :cas, :value [nil 1]}
        {:process 1, :type :ok, :f :cas, :value [nil 2]}""",
    "EDN, a counter": """
        {:process 0, :type :invoke, :f :add, :value 2}
        {:process 0, :type :ok, :f :add, :value 2}
        {:process 0, :type :invoke, :f :read, :value nil}
        {:process 0, :type :ok, :f :read, :value 4}""",
    "a log": """
        INFO  jepsen.util - 2\t:invoke\t:write\t4
        INFO  jepsen.util - 2\t:ok\t:write\t4
        INFO  jepsen.util - 0\t:invoke\t:read\tnil
        INFO  jepsen.util - 0\t:ok\t:read\t3""",
    "JSON Lines": """
        {"client": 1, "kind": "put", "key": "x", "value": "a", "start": 0, "finish": 1}
        {"client": 2, "kind": "get", "key": "x", "start": 2, "finish": 3, "result": null}""",
}
WRITE = "{:process 0, :type :invoke, :f :write, :value 1}"
CALL = '{"client": 1, "kind": "put", "key": "x", "value": "a", "start": 0, "finish": 1}'
UNREADABLE = {
    "": "the history is empty",
    "hello": "line 1: expected JSON Lines, a Jepsen history in EDN, or a log",
    '{"client": 1, "kind": "get", "start": 0, "finish": 1, "result": null}\n{"': "line 2: expected one JSON object",
    '{"client": 1, "kind": "putt", "start": 0, "finish": 1}': 'line 1: kind is "putt"',
    '{"kind": "get", "start": 0, "finish": 1}': 'line 1: "client" is missing',
    '{"client": 1, "kind": "get", "start": 2, "finish": 1, "result": null}': "line 1: it finishes at 1",
    CALL.replace('"start"', '"expected": "b", "start"'): 'line 1: "expected" belongs to cas, not to put',
    CALL.replace('"start"', '"by": 2, "start"'): 'line 1: "by" belongs to incr, not to put',
    CALL.replace("put", "incr"): 'line 1: "value" does not belong to incr, what it adds is "by"',
    CALL.replace("put", "get"): 'line 1: "value" does not belong to get, what it returned is its "result"',
    CALL.replace("put", "get").replace('"value": "a"', '"if_version": 1'): 'line 1: "if_version" belongs to put and',
    CALL + "\n" + '{"key": "x", "initial": "a"}\n{"key": "x", "initial": "b"}': "line 3: another line says",
    CALL
    + "\n"
    + '{"key": "x", "initial": "a", "version": 0}': 'line 2: "version" must not be 0 where the key is there',
    CALL + "\n" + '{"key": "x", "initial": null, "version": -1}': 'line 2: "version" must not be -1',
    CALL + "\n" + 5000 * '{"x":' + "1" + 5000 * "}": "line 2: expected one JSON object",
    WRITE + "\n{:process 0, :type :ok, :f :read, :value 1}": "line 2: process 0 is answered for :read",
    WRITE + "\n{:process 0, :type :maybe, :f :write}": "line 2: :type is :maybe",
    WRITE.replace(":write", ":fly"): "line 1: :f is :fly",
    WRITE[:-1]: "line 1: ",
    WRITE.replace(":invoke", ":ok"): "line 1: process 0 is answered",
    WRITE + "\n" + WRITE: "line 2: process 0 invokes :write while its :write of line 1 is still open",
    WRITE.replace("}", ", :time 1e999}"): "line 1: :time is inf",
    WRITE.replace(":value 1", ":value " + 5000 * "9"): "line 1: a number of more than",
    "[" + WRITE + "\n;\n{:type :ok}]": "line 3: the map has no :f",
    WRITE.replace(":invoke", "{:a 1}"): "line 1: :type is {:a 1}",
    WRITE.replace(":write", "[1]"): "line 1: :f is :[1]",
    WRITE.replace("1}", r'"\ud800"}'): r'line 1: "\ud800" has half of a character',
    WRITE.replace("1}", r"\udc00}"): r"line 1: \udc00 has half of a character",
    WRITE.replace("1}", 5000 * "#a " + "1}"): "line 1: more than 100 tags",
    WRITE.replace("1}", 5000 * "#_ " + "1}"): "line 1: more than 100 tags",
    WRITE.replace("1}", "[7 1]}") + "\n{:process 0, :type :ok, :f :write, :value [8 1]}": (
        "line 2: process 0 is answered for key 8, but line 1 called for key 7"
    ),
    "[]": "the history is empty: no client did anything in it",
    '{"fault": "kill", "start": 0}': "the history is empty: no client did anything in it",
    '[{"client": 1}]': "line 1: a JSON array, expected JSON Lines",
    "\x1f\x8b\b": "line 1: compressed",
    "\xff\xfe{\0\n\0": "line 1: UTF-16, expected UTF-8",
    "INFO  jepsen.util - 0\t:invoke\t:write\t4\nINFO  jepsen.util - 0\t:o": "line 2: ",
    "0\t:invoke\t:write\t4\n0\tok\t:write\t4": "line 2: ",
}


def history_in(text: str) -> History:
    return read(io.BytesIO(re.sub(r"^\n? +", "", text, flags=re.MULTILINE).encode()))


@pytest.mark.parametrize("name", GOOD)
def test_what_is_linearizable_is_found_to_be(name: str) -> None:
    history = history_in(GOOD[name])
    assert len(history) > 0
    assert check(history).verdict is Verdict.OK


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_linearizable_is_found_out(name: str) -> None:
    result = check(history_in(BAD[name]))
    assert result.verdict is Verdict.ILLEGAL
    assert all(1 <= len(key.witness) <= 6 and key.sentence for key in result.violations)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(io.BytesIO(text.encode("latin1")))
    assert UNREADABLE[text] in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_byte_order_marks_and_carriage_returns_are_passed_over(name: str) -> None:
    text = re.sub(r"^\n? +", "", GOOD[name], flags=re.MULTILINE)
    plain = list(read(io.BytesIO(text.encode())))
    assert list(read(io.BytesIO(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()))) == plain


@pytest.mark.parametrize("option", [{"format": "json"}, {"model": "set"}])
def test_a_format_or_a_model_that_is_none_is_named(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))} is '.*'; it must be one of auto, "):
        read(io.BytesIO(CALL.encode()), **option)  # type: ignore[arg-type]


def test_operations_on_one_line_keep_numbers_of_their_own() -> None:
    text = re.sub(r"\s+", " ", GOOD["EDN, a list with a comment in it"].replace("; now it is 0", ""))
    [found] = check(read(io.BytesIO(text.encode())), orders=True).keys
    assert found.order is not None
    assert len(set(found.order)) == 2


def test_in_a_vector_operations_have_the_numbers_of_their_lines() -> None:
    history = history_in(GOOD["EDN, a list with a comment in it"].strip())
    assert [each.number for each in history] == [1, 4]


def test_a_nemesis_that_kills_and_starts_has_one_fault() -> None:
    lines = (":kill :value nil", ":kill :value :killed", ":start :value nil", ":start :value :started")
    said = [f"{{:process :nemesis, :type :info, :f {line}}}" for line in lines]
    [fault] = read(io.BytesIO("\n".join([WRITE, *said]).encode())).faults
    assert (fault.kind, fault.start, fault.finish, fault.text) == ("kill", 2.0, 5.0, ":killed")


def test_what_is_written_is_read_again() -> None:
    history = history_in(GOOD["JSON Lines"])
    target = io.StringIO()
    jsonl.write(history, target)
    again = read(io.BytesIO(target.getvalue().encode()))
    assert [(each.kind, each.key, each.argument, each.result, each.outcome) for each in again] == [
        (each.kind, each.key, each.argument, each.result, each.outcome) for each in history
    ]


def test_the_examples_of_the_documentation_can_be_read() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for language, operations in (("json", 5), ("clojure", 2)):
        blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
        history = read(io.BytesIO("".join(blocks).encode()))
        assert len(history) == operations
        assert check(history).verdict is Verdict.OK
