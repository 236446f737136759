"""The commands on one key, against a real cluster: what they print, and what they exit with."""

import contextlib
import json
import os
import pty
import random
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import PROGRAM, Call, program
from client.fake_node import FakeNode, threaded_nodes
from harness.processes import started

from paxoskv.server.launcher import LocalCluster

DONE, NOT_THERE, BAD_USAGE, DEFINITE, UNKNOWN, IO_ERROR, INTERRUPTED = 0, 1, 2, 3, 4, 74, 130
NOBODY = "127.0.0.1:1"


def printed(text: str) -> dict[str, object]:
    """The one JSON object of an output."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


# What they do.


def test_a_value_comes_back_byte_for_byte(paxoskv: Call) -> None:
    written = paxoskv("put", "greeting", "hello")
    assert (written.exit_code, written.stderr) == (DONE, "")
    assert int(written.stdout) > 0
    read = paxoskv("get", "greeting")
    assert (read.exit_code, read.stdout, read.stderr) == (DONE, "hello", "")


def test_each_command_prints_its_result(paxoskv: Call) -> None:
    assert paxoskv("incr", "n").stdout == "1\n"
    assert paxoskv("incr", "n", "41").stdout == "42\n"
    assert paxoskv("incr", "n", "-50").stdout == "-8\n"
    assert paxoskv("append", "n", "0").stdout == "3\n"
    assert paxoskv("swap", "n", "new").stdout == "-80"
    assert paxoskv("swap", "fresh", "new").stdout == ""
    assert int(paxoskv("cas", "n", "new", "newer").stdout) > 0
    assert int(paxoskv("cas", "created", "now", "--absent").stdout) > 0
    deleted = paxoskv("delete", "n")
    assert (deleted.exit_code, deleted.output) == (DONE, "")


def test_with_json_each_command_prints_one_object(paxoskv: Call) -> None:
    version = printed(paxoskv("put", "j", "a", "--json").stdout)["version"]
    assert isinstance(version, int)
    assert printed(paxoskv("get", "j", "--json").stdout) == {"value": "a", "version": version, "found": True}
    swapped = printed(paxoskv("swap", "j", "5", "--json").stdout)
    assert swapped.keys() == {"value", "version", "found"}
    assert (swapped["value"], swapped["found"]) == ("a", True)
    assert printed(paxoskv("incr", "j", "--json").stdout)["value"] == 6
    assert printed(paxoskv("append", "j", "0", "--json").stdout)["length"] == 2
    assert printed(paxoskv("cas", "j", "60", "x", "--json").stdout).keys() == {"version"}
    assert printed(paxoskv("delete", "j", "--json").stdout) == {"found": True}
    assert printed(paxoskv("swap", "j", "x", "--json").stdout)["found"] is False


def test_conditions_on_versions(paxoskv: Call) -> None:
    version = paxoskv("put", "lock", "mine", "--if-version", "0").stdout.strip()
    assert paxoskv("put", "lock", "yours", "--if-version", "0").exit_code == NOT_THERE
    assert paxoskv("delete", "lock", "--if-version", "1").exit_code == NOT_THERE
    assert paxoskv("delete", "lock", "--if-version", version).exit_code == DONE


# 1: absent, or the condition does not hold.


@pytest.mark.parametrize("command", ["get", "delete"])
def test_what_is_absent_is_said_on_standard_error_and_exits_with_1(paxoskv: Call, command: str) -> None:
    result = paxoskv(command, "nowhere")
    assert (result.exit_code, result.stdout, result.stderr) == (NOT_THERE, "", "nowhere is absent\n")
    result = paxoskv(command, "nowhere", "--json")
    assert result.exit_code == NOT_THERE
    assert printed(result.stdout)["found"] is False


REFUSED = {
    "put": (["put", "held", "x", "--if-version", "1"], "condition-failed"),
    "delete": (["delete", "held", "--if-version", "1"], "condition-failed"),
    "cas": (["cas", "held", "other", "x"], "condition-failed"),
    "cas of what is there": (["cas", "held", "x", "--absent"], "condition-failed"),
    "incr of a text": (["incr", "held"], "not-an-integer"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_failed_condition_exits_with_1_and_tells_how_the_key_is(paxoskv: Call, what: str) -> None:
    arguments, code = REFUSED[what]
    version = int(paxoskv("put", "held", "value").stdout)
    text = paxoskv(*arguments)
    assert (text.exit_code, text.stdout) == (NOT_THERE, "")
    assert text.stderr.startswith(f"{code}: ")
    assert text.stderr.endswith(f"; the key has version {version} and was not changed; its value is 'value'\n")
    error = printed(paxoskv(*arguments, "--json").stdout)
    assert (error["error"], error["definite"], error["value"], error["version"]) == (code, True, "value", version)


def test_numbers_and_values_that_would_get_too_large_are_left_alone(paxoskv: Call) -> None:
    paxoskv("put", "most", str(2**63 - 1))
    result = paxoskv("incr", "most")
    assert result.exit_code == NOT_THERE
    assert result.stderr.startswith("integer-overflow: ")
    paxoskv("put", "long", "-", stdin=b"x" * 1024 * 1024)
    result = paxoskv("append", "long", "y", "--json")
    assert (result.exit_code, printed(result.stdout)["error"]) == (NOT_THERE, "value-too-large")
    assert len(result.stderr) < 200, "a long value is no part of a sentence"


# 2: bad usage.

USAGE = {
    "no key": (["get"], "Missing argument 'KEY'"),
    "no value": (["put", "k"], "Missing argument 'VALUE'"),
    "too many values": (["put", "k", "a", "b"], "unexpected extra argument"),
    "no such command": (["putt", "k", "v"], "No such command 'putt'"),
    "no such option": (["get", "k", "--josn"], "No such option '--josn'"),
    "a misspelt option where a value could be": (["put", "k", "--if-versio=3"], "Did you mean --if-version?"),
    "no number": (["incr", "k", "many"], "'many' is not a valid integer"),
    "a negative version": (["put", "k", "v", "--if-version", "-1"], "-1 is not in the range"),
    "no timeout": (["get", "k", "--timeout", "0"], "'--timeout'"),
    "one value for cas": (["cas", "k", "v"], "give KEY EXPECTED VALUE, or KEY VALUE --absent"),
    "two values for an absent key": (
        ["cas", "k", "a", "b", "--absent"],
        "give KEY EXPECTED VALUE, or KEY VALUE --absent",
    ),
    "standard input twice": (["cas", "k", "-", "-"], "give - once"),
}


@pytest.mark.parametrize("what", USAGE)
def test_bad_usage_exits_with_2_and_says_what_is_wrong(paxoskv: Call, what: str) -> None:
    arguments, complaint = USAGE[what]
    result = paxoskv(*arguments)
    assert (result.exit_code, result.stdout) == (BAD_USAGE, "")
    assert complaint in result.stderr
    assert "--help' for help." in result.stderr
    result = paxoskv(*arguments, "--json")
    error = printed(result.stdout)
    assert (result.exit_code, error["error"], error["definite"]) == (BAD_USAGE, "bad-usage", True)
    assert complaint in str(error["message"])


REQUESTS = {
    "an empty key": (["get", ""], "a key has 1 to 1024 bytes, this one 0"),
    "a long key": (["put", "k" * 1025, "v"], "a key has 1 to 1024 bytes, this one 1025"),
    "no endpoint": (["get", "k", "--endpoints", "here"], "'here' is no endpoint; it must be host:port"),
    "a stranger preferred": (
        ["get", "k", "--prefer", "here:1"],
        "which is none of the endpoints; those are 127.0.0.1:",
    ),
    "a number beyond 64 bits": (["incr", "k", str(2**63)], "incr adds a signed 64-bit integer"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_a_bad_request_exits_with_2_and_is_one_sentence(paxoskv: Call, what: str) -> None:
    arguments, complaint = REQUESTS[what]
    result = paxoskv(*arguments)
    assert (result.exit_code, result.stdout) == (BAD_USAGE, "")
    assert result.stderr.startswith("bad-request: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    error = printed(paxoskv(*arguments, "--json").stdout)
    assert (error["error"], error["definite"]) == ("bad-request", True)


def test_a_misspelt_option_changes_nothing(paxoskv: Call) -> None:
    paxoskv("put", "careful", "value")
    assert paxoskv("put", "careful", "--jsn").exit_code == BAD_USAGE
    assert paxoskv("get", "careful").stdout == "value"


# 3: a definite error. 4: the outcome is unknown.


def test_an_unreachable_cluster_exits_with_3_and_names_every_node(paxoskv: Call) -> None:
    arguments = ["put", "k", "v", "--endpoints", f"{NOBODY},127.0.0.1:2", "--timeout", "0.2"]
    result = paxoskv(*arguments)
    assert (result.exit_code, result.stdout) == (DEFINITE, "")
    assert result.stderr == (
        "not-reached: no node could be reached within 0.2 s: "
        f"{NOBODY}: Connection refused; 127.0.0.1:2: Connection refused\n"
    )
    error = printed(paxoskv(*arguments, "--json").stdout)
    assert (error["error"], error["definite"]) == ("not-reached", True)


@contextlib.contextmanager
def paused(cluster: LocalCluster, *numbers: int) -> Iterator[None]:
    for number in numbers:
        cluster.signal(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            cluster.signal(number, signal.SIGCONT)


def test_without_a_majority_a_write_that_began_is_unknown_and_one_that_did_not_is_unavailable(
    cluster: LocalCluster, paxoskv: Call
) -> None:
    first = ["--endpoints", cluster.endpoints[0]]
    paxoskv("put", "held-by-1", "v", *first)
    with paused(cluster, 2, 3):
        for arguments, exit_code, error, definite in (
            (["put", "held-by-1", "w"], UNKNOWN, "outcome-unknown", False),
            (["put", "never-seen", "w"], DEFINITE, "unavailable", True),
            (["get", "held-by-1"], DEFINITE, "unavailable", True),
        ):
            result = paxoskv(*arguments, *first, "--timeout", "0.4", "--json")
            found = printed(result.stdout)
            assert (result.exit_code, found["error"], found["definite"]) == (exit_code, error, definite)
            assert result.stderr.startswith(f"{error}: {cluster.endpoints[0]}: ")
    assert paxoskv("get", "held-by-1", "--timeout", "20").stdout in ("v", "w")


# Endpoints.


def test_the_option_overrules_the_environment(paxoskv: Call, cluster: LocalCluster) -> None:
    paxoskv("put", "where", "here")
    assert paxoskv("get", "where", PAXOSKV_ENDPOINTS=NOBODY, PAXOSKV_TIMEOUT="0.1").exit_code == DEFINITE
    assert paxoskv("get", "where", "--endpoints", cluster.endpoints[2], PAXOSKV_ENDPOINTS=NOBODY).stdout == "here"
    assert paxoskv("get", "where", PAXOSKV_PREFER=cluster.endpoints[1]).stdout == "here"


def test_json_can_be_asked_for_by_the_environment(paxoskv: Call) -> None:
    assert printed(paxoskv("get", "nowhere", PAXOSKV_JSON="1").stdout)["found"] is False
    assert printed(paxoskv("get", "", PAXOSKV_JSON="true").stdout)["error"] == "bad-request"
    assert printed(paxoskv("get", PAXOSKV_JSON="1").stdout)["error"] == "bad-usage"
    assert paxoskv("get", "nowhere", PAXOSKV_JSON="0").stdout == ""


# Bytes.

EVERY_BYTE = bytes(range(256)) + b"\n\r\n\0"


def test_values_from_standard_input_are_any_bytes(environment: dict[str, str]) -> None:
    assert program("put", "binary", "-", env=environment, stdin=EVERY_BYTE).returncode == DONE
    assert program("get", "binary", env=environment).stdout == EVERY_BYTE
    assert program("swap", "binary", "-", env=environment, stdin=b"").stdout == EVERY_BYTE
    assert program("append", "binary", "-", env=environment, stdin=b"\xff").stdout == b"1\n"
    assert program("cas", "binary", "-", "done", env=environment, stdin=b"\xff").returncode == DONE
    assert program("get", "binary", env=environment).stdout == b"done"


def test_json_has_base64_for_what_is_no_text(paxoskv: Call) -> None:
    paxoskv("put", "b64", "-", stdin=b"\xff\x00")
    assert printed(paxoskv("get", "b64", "--json").stdout)["value_base64"] == "/wA="
    assert "value" not in printed(paxoskv("get", "b64", "--json").stdout)


def test_arguments_are_the_bytes_that_were_typed(environment: dict[str, str]) -> None:
    assert program("put", b"key-\xff", b"v-\xfe", env=environment).returncode == DONE
    assert program("get", b"key-\xff", env=environment).stdout == b"v-\xfe"


@pytest.mark.parametrize("value", ["-5", "-", "--", "--json", "-h"])
def test_values_that_begin_with_a_dash(paxoskv: Call, value: str) -> None:
    if value == "-5":
        paxoskv("put", "dash", value)
    elif value == "-":
        paxoskv("put", "dash", "-", stdin=b"-")
    else:
        paxoskv("put", "--timeout", "5", "dash", "--", value)
    assert paxoskv("get", "dash").stdout == value


def test_a_person_at_a_terminal_gets_a_newline_and_a_program_does_not(environment: dict[str, str]) -> None:
    program("put", "for-people", "hello", env=environment)
    ours, theirs = pty.openpty()
    subprocess.run([*PROGRAM, "get", "for-people"], env=environment, stdout=theirs, check=True)
    assert os.read(ours, 100) == b"hello\r\n"
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_absent_key(environment: dict[str, str], unbuffered: str) -> None:
    program("put", "long", "-", env=environment, stdin=random.Random(1).randbytes(1024 * 1024))
    variables = environment | {"PYTHONUNBUFFERED": unbuffered}
    with started(
        [*PROGRAM, "get", "long"], text=False, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["put", "k", "v"], ["get", "k"], ["get", "k", "--json"], ["scan"]])
def test_an_output_that_is_full_is_no_defect_and_no_absent_key(
    environment: dict[str, str], arguments: list[str]
) -> None:
    subprocess.run([*PROGRAM, "put", "k", "v"], env=environment, check=True, capture_output=True)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == IO_ERROR
    assert done.stderr == "failed: something could not be read or written: No space left on device\n"


# Ctrl-C.


@pytest.mark.parametrize("extra", [[], ["--json"]])
@pytest.mark.parametrize(
    ("arguments", "definite", "sentence"),
    [
        (["put", "k", "v"], False, "what was under way may or may not have happened"),
        (["get", "k"], True, "no key was changed"),
    ],
)
def test_ctrl_c_exits_with_130_and_does_not_claim_to_know(
    arguments: list[str], definite: bool, sentence: str, extra: list[str]
) -> None:
    def hang(node: FakeNode) -> None:
        node.hang = True

    with threaded_nodes(1) as nodes:
        nodes.do(hang)
        command = [*PROGRAM, *arguments, "--endpoints", nodes.endpoints, "--timeout", "60", *extra]
        with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            nodes.until(lambda node: bool(node.seen))
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate()
    assert process.returncode == INTERRUPTED
    assert errors == f"interrupted: {sentence}\n"
    assert output == "" or printed(output)["definite"] is definite
    assert bool(output) is bool(extra)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize("full", ["stdout", "stderr"])
def test_an_outcome_that_cannot_be_told_is_still_in_the_exit_code(full: str, as_json: list[str]) -> None:
    """It was 1, which says that nothing was changed."""

    def hang(node: FakeNode) -> None:
        node.hang = True

    with threaded_nodes(1) as nodes, open("/dev/full", "w") as nowhere:
        nodes.do(hang)
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, full: nowhere}
        command = [*PROGRAM, "append", "k", "v", "--endpoints", nodes.endpoints, "--timeout", "0.3", *as_json]
        assert subprocess.run(command, **streams, check=False).returncode == 4
        usage = [*PROGRAM, "put", "k", "--endpoints", nodes.endpoints, *as_json]
        assert subprocess.run(usage, **streams, check=False).returncode == 2


@pytest.mark.parametrize("arguments", [["status"], ["--help"], ["scan"]])
def test_a_reader_that_left_at_once_is_told_by_the_same_exit_code_everywhere(
    environment: dict[str, str], arguments: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    subprocess.run([*PROGRAM, "put", "k", "v"], env=environment, check=True, capture_output=True)
    done = subprocess.run([*PROGRAM, *arguments], env=environment, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("shell", "code"),
    [("put k - <&-", 74), ("get k >&-", 74), ("get k --json 2>&-", 0), ("get nothing 2>&-", 1), ("put k 2>&-", 2)],
)
def test_a_standard_stream_may_be_closed(environment: dict[str, str], shell: str, code: int) -> None:
    subprocess.run([*PROGRAM, "put", "k", "v"], env=environment, check=True, capture_output=True)
    command = f"{shlex.join(PROGRAM)} {shell}"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_value_that_the_encoding_of_the_output_has_no_signs_for_is_escaped(environment: dict[str, str]) -> None:
    subprocess.run([*PROGRAM, "put", "sign", "\u20ac"], env=environment, check=True, capture_output=True)
    latin = environment | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([*PROGRAM, "scan", "sign"], env=latin, capture_output=True, check=True)
    assert done.stdout == b"sign\t\\u20ac\n"
