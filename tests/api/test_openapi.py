"""The description of the API says what it does, no more and no less, and needs nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema_rs import validator_for
from support.apis import Api, Fill, Serving, tail
from support.samples import DOCUMENTED, saved

TOKEN = "token-for-the-description"


def described(api: Api) -> dict[str, Any]:
    """The OpenAPI document."""
    answer = api.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("tokens", [(), (TOKEN,)])
def test_every_route_is_described(serving: Serving, tokens: tuple[str, ...]) -> None:
    """With every answer that it may give, in the envelope, and an example that fits; 401 if there are tokens."""
    with serving(api_token=tokens) as api:
        document = described(api)
    schemas = document["components"]["schemas"]

    described_codes = {path: set(operations["get"]["responses"]) for path, operations in document["paths"].items()}
    token = {"401"} if tokens else set()
    assert described_codes == {
        "/model/etl/log": {"200", "304", "400", "404", "503"} | token,
        "/model/etl/log/stream": {"200", "400", "404", "503"} | token,
        "/model/etl/coverage": {"200", "304", "400", "404", "503"} | token,
        "/model/etl/logs": {"200"} | token,
        "/model/etl/status": {"200", "400", "404", "503"} | token,
        "/model/etl/bugreport": {"200", "400", "404"} | token,
        "/metrics": {"200"} | token,
        "/healthz": {"200"},
        "/readyz": {"200", "503"},
    }
    for path, operations in document["paths"].items():
        assert set(operations) == {"get"}
        operation = operations["get"]
        assert operation["summary"]
        assert ("security" in operation) == bool(tokens and path.startswith(("/model", "/metrics")))
        for code, answer in operation["responses"].items():
            assert answer["description"]
            for media, content in answer.get("content", {}).items():
                assert (media, code == "200") != ("application/json", False) or "example" in content
                if "example" in content:
                    name = content["schema"]["$ref"].rpartition("/")[2]
                    schema = {**schemas[name], "components": document["components"]}
                    assert validator_for(schema).is_valid(content["example"])
                    assert content["example"]["code"] == int(code)


def test_the_documented_example_is_the_example(api: Api) -> None:
    """To the letter, in the order of its keys."""
    example = described(api)["paths"]["/model/etl/log"]["get"]["responses"]["200"]["content"]["application/json"][
        "example"
    ]

    data = example["data"]
    assert {name: [orjson.dumps(event) for event in data[name]] for name in DOCUMENTED} == DOCUMENTED
    assert list(data) == ["allocation", "asset", "counters"]


def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    """It is read where there is no internet, and shows every route."""
    answer = api.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = re.sub(r"<pre>.*?</pre>", "", answer.text, flags=re.DOTALL)

    assert set(re.findall(r"(?:src|href)='?([^'> ]*)", page)) == {"docs.css", "openapi.json"}
    assert not re.search(
        r"https?:|//|<script|style=|@import|url\(", re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    )
    for path in described(api)["paths"]:
        assert f"GET {path}<" in page
    style = api.get("/docs.css")
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert not re.search(r"@import|url\(|//", style.text)


def test_nothing_is_found_by_those_who_look_for_trouble(serving: Serving, fill: Fill, tmp_path: Path) -> None:
    """Schemathesis asks whatever the description allows and forbids: every answer is one that is described.

    The live log has no end, so it is left out. That a date exists and that a span ends after its start is more than a
    schema can say, so a window that fits it may still be refused.
    """
    fill([event for events in DOCUMENTED.values() for event in events])
    with serving(api_token=(TOKEN,)) as api:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--no-color"),
                *("--header", f"Authorization: Bearer {TOKEN}", "--exclude-path", "/model/etl/log/stream"),
                *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-response-time", "5"),
                *("--max-examples", "50", "--seed", "1", "--generation-database", "none"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "8 selected / 9 total" in ended.stdout


def test_the_live_log_is_as_described(serving: Serving, fill: Fill) -> None:
    """With the codes and media types that stand in the description."""
    with serving(api_token=(TOKEN,)) as api:
        operation = described(api)["paths"]["/model/etl/log/stream"]["get"]
        [position] = [each for each in operation["parameters"] if each["name"] == "Last-Event-ID"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        fill([saved()])

        def media(code: int, **more: str) -> str:
            with api.client.stream("GET", "/model/etl/log/stream", headers={**more}) as answer:
                assert answer.status_code == code
                found: str = answer.headers["Content-Type"].partition(";")[0]
                return found

        for code, given in ((200, headers), (200, {**headers, "Last-Event-ID": "1-0"}), (401, {})):
            assert {media(code, **given)} == set(operation["responses"][str(code)]["content"])
        for wrong in ("x", "1", "1-", "-1", "1-0-0", "1" * 20 + "-0", "1-0.0", "1-0.", "1-0.1000"):
            assert {media(400, **headers, **{"Last-Event-ID": wrong})} == set(operation["responses"]["400"]["content"])
            assert not re.search(position["schema"]["pattern"], wrong)
    for example in position["schema"]["examples"]:
        with serving() as api, tail(api.url, last=example) as following:
            following.wait(1)
            assert following.data == [saved()]
