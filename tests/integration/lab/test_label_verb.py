"""`drover lab label` as a command against servers that speak OpenAI's API: a scripted one, and a bridge with a simulated fleet."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dispatcher.lab.router.labels import read_labels
from tests.commands import Finished, drover, running
from tests.provider_process import KEY, ProviderProcess, provider

WEAK, STRONG = "gpt-small", "gpt-large"
ANSWERS = {"gpt_small": {"texts": ["A short", " answer."]}, "gpt_large": {"texts": ["A long answer."]}}
GRADES = {"texts": ['{"reason": "so", "first": 3, "second": 3}']}
"""What the judge of most of these tests says: a tie, whatever the order."""

PRICES = ("--price", f"{WEAK}=1/2", "--price", f"{STRONG}=10/20", "--price", "judge=5/10")
ROW_USD = (1000 * 1 + 500 * 2 + 1000 * 10 + 500 * 20 + 2 * (1000 * 5 + 500 * 10)) / 1e6
"""What the provider counts for two answers and two verdicts: a thousand tokens and five hundred for each."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[ProviderProcess]:
    async with provider() as running_provider:
        yield running_provider


@pytest.fixture
async def server(one: ProviderProcess) -> ProviderProcess:
    """The same process for all tests; it has forgotten the one before, whose command has ended."""
    await one.forget()
    await one.stand(**ANSWERS, judge=GRADES)
    return one


def _prompts(path: Path, count: int = 5, **more: str) -> Path:
    with (path / "prompts.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "domain", *more])
        table.writerows([f"Question {number}?", "talk", *more.values()] for number in range(count))
    return path / "prompts.csv"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _account(path: Path) -> dict[str, float]:
    return dict(json.loads((path / "labels.csv.run.json").read_text()))


def _everything(path: Path) -> str:
    return "".join(file.read_text() for file in path.iterdir())


def _words(server: ProviderProcess, *more: str, weak: str = WEAK, strong: str = STRONG) -> list[str]:
    return [
        *("lab", "label", "--from", "prompts.csv", "--out", "labels.csv", "--url", server.base_url),
        *("--weak", weak, "--strong", strong, *more),
    ]


async def _label(server: ProviderProcess, cwd: Path, *more: str, key: str = KEY, **models: str) -> Finished:
    return await drover(*_words(server, *more, **models), cwd=cwd, OPENAI_API_KEY=key)


def _judged(*more: str) -> tuple[str, ...]:
    return ("--judge", "judge", "--max-usd", "5", *PRICES, *more)


async def test_labels_that_a_router_can_learn_from(server: ProviderProcess, tmp_path: Path) -> None:
    """Both models are asked, the judge twice a pair, and every call is paid for once; `drover lab train` reads the file."""
    _prompts(tmp_path, 40)
    end = await _label(server, tmp_path, *_judged("--concurrency", "8"))
    state = await server.state()
    labels = read_labels(tmp_path / "labels.csv")
    account = json.loads((tmp_path / "labels.csv.run.json").read_text())

    assert end.status == 0, end.err
    assert (160, 40, {"talk"}, {0.3}) == (state["asked"], len(labels.prompts), set(labels.domains), set(labels.weak))
    assert labels.answers == ("A short answer.",) * 40
    assert round(40 * ROW_USD, 6) == round(account["spent_usd"], 6)


async def test_the_answers_change_places(server: ProviderProcess, tmp_path: Path) -> None:
    """A judge that always likes what it reads first orders nothing: a tie, named as what it is."""
    _prompts(tmp_path, 2)
    await server.stand(**ANSWERS, judge={"texts": ['{"reason": "the first!", "first": 9, "second": 1}']})
    end = await _label(server, tmp_path, *_judged())
    seen = [one["body"] for one in (await server.state())["seen"] if one["body"]["model"] == "judge"]
    read = [body["messages"][1]["content"] for body in seen]
    weak_first = [text.index("A short answer.") < text.index("A long answer.") for text in read]
    rows = _rows(tmp_path / "labels.csv")

    assert [("0.5", "0.5", "order")] * 2 == [(row["weak"], row["strong"], row["standing"]) for row in rows], end.err
    assert [False, False, True, True] == sorted(weak_first)
    assert all(body["response_format"]["type"] == "json_schema" for body in seen)


async def test_what_is_there_is_not_asked_again(server: ProviderProcess, tmp_path: Path) -> None:
    """A second run asks for new prompts alone, and counts the money of both."""
    _prompts(tmp_path, 3)
    first = await _label(server, tmp_path, *_judged())
    _prompts(tmp_path, 5)
    second = await _label(server, tmp_path, *_judged())
    third = await _label(server, tmp_path, *_judged())
    state = await server.state()

    assert (0, 0, 0) == (first.status, second.status, third.status), second.err
    assert (5 * 4, 5) == (state["asked"], len(_rows(tmp_path / "labels.csv")))
    assert "2 of 5 rows to label" in second.err
    assert "0 of 5 rows to label" in third.err
    assert f"${5 * ROW_USD:.4f} in all" in second.out


async def test_other_settings_are_refused(server: ProviderProcess, tmp_path: Path) -> None:
    """Labels of another judge don't go into the same file; nothing is asked."""
    _prompts(tmp_path, 1)
    await _label(server, tmp_path, *_judged())
    asked = (await server.state())["asked"]
    end = await _label(server, tmp_path, "--judge", STRONG, "--max-usd", "5", *PRICES)

    assert (1, asked) == (end.status, (await server.state())["asked"])
    assert "judge was 'judge' and is 'gpt-large'" in end.err


async def test_killed_in_the_middle(server: ProviderProcess, tmp_path: Path) -> None:
    """A kill without warning leaves whole rows; the next run asks for what is missing, no row stands twice, and what ran is paid
    for as dear as it can have been."""
    _prompts(tmp_path, 30)
    await server.order(*(3 * [*ANSWERS.values(), GRADES, GRADES]), {"mute": True}, {"mute": True})
    words = _words(server, *_judged("--concurrency", "1"))
    async with running(*words, cwd=tmp_path, OPENAI_API_KEY=KEY) as command:
        await server.until(lambda state: state["asked"] >= 14)
        command.signal(signal.SIGKILL)
        await command.ended()
    left = len(_rows(tmp_path / "labels.csv"))
    killed = _account(tmp_path)
    end = await _label(server, tmp_path, *_judged())
    state = await server.state()
    prompts = [row["prompt"] for row in _rows(tmp_path / "labels.csv")]

    assert end.status == 0, end.err
    assert left == 3
    assert sorted(f"Question {number}?" for number in range(30)) == sorted(prompts)
    assert state["asked"] == 30 * 4 + 2  # the two that were running
    assert (round(killed["spent_usd"], 6), killed["held_usd"] > 0) == (round(3 * ROW_USD, 6), True)
    assert round(_account(tmp_path)["spent_usd"], 6) == round(30 * ROW_USD + killed["held_usd"], 6)


async def test_ctrl_c_keeps_what_is_done(server: ProviderProcess, tmp_path: Path) -> None:
    """It ends as an interrupt does, tells what there is, and the calls it broke off are counted as dear as can be."""
    _prompts(tmp_path, 5)
    await server.order(*ANSWERS.values(), GRADES, GRADES, {"mute": True}, {"mute": True})
    words = _words(server, *_judged("--concurrency", "1"))
    async with running(*words, cwd=tmp_path, OPENAI_API_KEY=KEY) as command:
        await server.until(lambda state: state["asked"] >= 6)
        command.signal(signal.SIGINT)
        status = await command.ended()
        await command.until("written: labels.csv")
    account = json.loads((tmp_path / "labels.csv.run.json").read_text())

    assert (130, 1) == (status, len(_rows(tmp_path / "labels.csv")))
    assert "1 of 5 rows labelled" in command.text
    assert account["spent_usd"] > ROW_USD + 512 * 22 / 1e6


async def test_a_server_that_is_busy_or_fails_is_asked_again(server: ProviderProcess, tmp_path: Path) -> None:
    """429 with its Retry-After, 500, and an answer that is no JSON: the row gets its label all the same."""
    _prompts(tmp_path, 1)
    error = {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
    await server.order(
        {"status": 429, "error": error, "headers": {"retry-after": "1"}},
        {"status": 500, "body": "<html>"},
        {"raw": ['{"choices": [{"mess']},
    )
    end = await _label(server, tmp_path, *_judged("--concurrency", "1"))

    seen = (await server.state())["seen"]
    busy, later = seen[0], next(one for one in seen[2:] if one["body"]["model"] == seen[0]["body"]["model"])

    assert (0, 1, 7) == (end.status, len(_rows(tmp_path / "labels.csv")), len(seen)), end.err
    assert later["at_s"] - busy["at_s"] >= 1.0


async def test_a_pause_of_an_hour_is_not_waited_for(server: ProviderProcess, tmp_path: Path) -> None:
    """The row fails, by its line and with the reason."""
    _prompts(tmp_path, 1)
    error = {"message": "the day's requests are used up", "type": "requests", "code": "rate_limit_exceeded"}
    busy = {"status": 429, "error": error, "headers": {"retry-after": "3600"}}
    await server.stand(gpt_small=busy, gpt_large=busy, judge=GRADES)
    end = await _label(server, tmp_path, *_judged())

    assert (1, []) == (end.status, _rows(tmp_path / "labels.csv"))
    assert "line 2 failed" in end.out
    assert "the day's requests are used up" in end.out


async def test_a_verdict_is_asked_for_again_when_it_can_not_be_read(server: ProviderProcess, tmp_path: Path) -> None:
    """The repair quotes the reply; a judge that never learns leaves the row without a label, named by its line."""
    _prompts(tmp_path, 2)
    await server.stand(**ANSWERS, judge={"texts": ["Both are fine!"]})
    await server.order(*ANSWERS.values(), {"texts": ["The second is better."]}, GRADES)
    end = await _label(server, tmp_path, *_judged("--concurrency", "1", "--no-swap"))
    seen = [one["body"] for one in (await server.state())["seen"]]

    assert (1, 1) == (end.status, len(_rows(tmp_path / "labels.csv"))), end.err
    assert "The second is better." == seen[3]["messages"][2]["content"]
    assert "1 without a label, since the judge's verdict could not be read, even asked again: lines 3" in end.out


async def test_a_server_without_schemas_is_asked_without_one(server: ProviderProcess, tmp_path: Path) -> None:
    """What it refuses is left out from then on."""
    _prompts(tmp_path, 2)
    refused = {"message": "response_format is not supported", "type": "invalid_request_error", "code": None}
    await server.order(*ANSWERS.values(), {"status": 400, "error": refused})
    end = await _label(server, tmp_path, *_judged("--concurrency", "1", "--no-swap"))
    judged = [one["body"] for one in (await server.state())["seen"] if one["body"]["model"] == "judge"]

    assert (0, [True, False, False]) == (end.status, ["response_format" in body for body in judged]), end.err


async def test_calls_that_asked_by_schema_at_once_fail_no_row(server: ProviderProcess, tmp_path: Path) -> None:
    """The first refusal that is heard is not the only one: each call that was refused for its schema is asked again without."""
    _prompts(tmp_path, 8)
    refused = {"message": "response_format is not supported", "type": "invalid_request_error", "code": None}
    await server.stand(**ANSWERS, judge=GRADES | {"status": 400, "error": refused, "schema_only": True})
    end = await _label(server, tmp_path, *_judged("--concurrency", "8"))
    judged = [one["body"] for one in (await server.state())["seen"] if one["body"]["model"] == "judge"]

    assert (0, 8) == (end.status, len(_rows(tmp_path / "labels.csv"))), end.err
    assert 2 <= sum("response_format" in body for body in judged) <= 16


async def test_the_cap_holds(server: ProviderProcess, tmp_path: Path) -> None:
    """A row is begun while there is money for its worst case; over both runs no more is spent than was allowed."""
    _prompts(tmp_path, 30)
    cap_usd = 10.5 * ROW_USD
    ends = [
        await _label(server, tmp_path, "--judge", "judge", "--max-usd", f"{cap_usd}", *PRICES, "--concurrency", "3")
        for _ in range(2)
    ]
    account = json.loads((tmp_path / "labels.csv.run.json").read_text())
    rows = len(_rows(tmp_path / "labels.csv"))

    assert [3, 3] == [end.status for end in ends], ends[0].err
    assert "the cap is reached" in ends[0].out
    assert 0 < rows <= 10
    assert round(rows * ROW_USD, 6) == round(account["spent_usd"], 6) <= cap_usd


async def test_no_money_without_leave(server: ProviderProcess, tmp_path: Path) -> None:
    """Nobody is there to ask: the estimate is told, and nothing is spent; a cap needs a price for every model."""
    _prompts(tmp_path, 2)
    bare = await _label(server, tmp_path, "--judge", "judge", *PRICES)
    unpriced = await _label(server, tmp_path, "--judge", "judge", "--max-usd", "1", "--price", f"{WEAK}=1/2")
    dry = await _label(server, tmp_path, "--judge", "judge", "--dry-run", *PRICES)

    assert (1, 1, 0, 0) == (bare.status, unpriced.status, dry.status, (await server.state())["asked"])
    assert "give --max-usd with a cap, or --yes" in bare.err
    assert "give --price gpt-large=input/output" in unpriced.err
    assert "2 of 2 rows to label: 8 calls; about $" in dry.err


async def test_prices_of_the_servers_own_list(server: ProviderProcess, tmp_path: Path) -> None:
    """Where the list of models has prices, nobody needs to write them down, also for a model that is pinned to a device."""
    _prompts(tmp_path, 1, gold="cloud")
    per_token = {"pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    await server.order_cards(gpt_small=per_token, gpt_large=per_token)
    end = await _label(server, tmp_path, "--gold", "gold", "--max-usd", "1", strong=f"{STRONG}@cloud")
    account = json.loads((tmp_path / "labels.csv.run.json").read_text())

    assert (0, 2 * 0.002) == (end.status, account["spent_usd"]), end.err


async def test_no_key_is_written_anywhere(server: ProviderProcess, tmp_path: Path) -> None:
    """A key that is refused ends the run at once, and stands neither in what is said nor in a file."""
    _prompts(tmp_path, 5)
    wrong = "sk-wrong-9876543210fedcba"
    end = await _label(server, tmp_path, *_judged("--concurrency", "1"), key=wrong)
    written = _everything(tmp_path)

    asked = (await server.state())["asked"]

    assert (3, True) == (end.status, 1 <= asked <= 2)  # both answers are asked for at once
    assert "refuses the key (401)" in end.out
    assert [] == [part for part in ("sk-wrong", wrong[-4:]) if part in end.out + end.err + written]


async def test_right_answers_need_no_judge(server: ProviderProcess, tmp_path: Path) -> None:
    """By number, whatever is said around it."""
    _prompts(tmp_path, 2, right="1,200")
    await server.stand(gpt_small={"texts": ["I think 1,100."]}, gpt_large={"texts": ["That makes\n", "#### 1200"]})
    end = await _label(server, tmp_path, "--gold", "right", "--yes")

    assert [("0", "1", "gold")] * 2 == [
        (row["weak"], row["strong"], row["standing"]) for row in _rows(tmp_path / "labels.csv")
    ], end.err


READY = r"drover is up: (http://127\.0\.0\.1:\d+)"


@pytest.mark.slow
async def test_a_fleets_own_bridge_is_such_a_server(tmp_path: Path) -> None:
    """Two models of simulated devices answer, pinned by `model@device`, a third fills in the judge's form: labels, and no cent."""
    _prompts(tmp_path, 6)
    knobs: dict[str, Any] = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_SIM_TIME_FACTOR": "50",
        "DROVER_ACCEPT_S": "20",  # a busy machine must not make a device silent
        "DROVER_DEVICES": "pi5,orin",
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
        "DROVER_RESTART": "false",
    }
    async with running("up", cwd=tmp_path, **knobs) as up:
        url = (await up.until(READY))[1]
        models = ("--weak", "llama3.2:1b@pi5", "--strong", "llama3.2:3b@orin", "--judge", "llama3.2:3b@orin")
        words = ("lab", "label", "--from", "prompts.csv", "--out", "labels.csv", "--url", f"{url}/v1", *models)
        end = await drover(*words, "--max-tokens", "40", cwd=tmp_path)
    rows = _rows(tmp_path / "labels.csv")

    assert (0, 6) == (end.status, len(rows)), (end.out, end.err)
    assert all("pi5" in row["weak_response"] and "orin" in row["strong_response"] for row in rows)
    assert {"0.00000000"} == {row["cost_usd"] for row in rows}
