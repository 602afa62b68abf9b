"""Settings: their defaults, and one line that names the variable for every bad value."""

from dataclasses import fields
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from etlog_events.errors import EtlogError, SettingsError
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.settings import Settings, variable_of

TOKEN = "sesame-open-sesame"
OTHER_TOKEN = "abcdefghijklmnop0123456789._~+/=-"


def test_without_an_environment_the_defaults_hold() -> None:
    """A log on this machine, under the name `default`."""
    settings = Settings.from_environment({})

    assert settings == Settings()
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.name == "default"
    assert settings.logs == ("default",)
    assert settings.cap == 1000
    assert settings.keep_sets == 2000
    assert settings.retain == 100_000
    assert settings.categories == {}
    assert settings.timezone is UTC
    assert settings.api_token == ()
    assert settings.host == "127.0.0.1"
    assert settings.port == 9090
    assert settings.config is None
    assert settings.page_url == ""
    assert settings.log_level == "INFO"
    assert settings.log_format == "text"


def test_every_setting_is_read_from_its_variable() -> None:
    """The name of a variable is that of the setting, in capitals."""
    settings = Settings.from_environment(
        {
            "ETLOG_REDIS_URL": "rediss://store.example:6380/2",
            "ETLOG_NAME": "nightly-2.b_c",
            "ETLOG_CAP": "50",
            "ETLOG_KEEP_SETS": "500",
            "ETLOG_RETAIN": "0",
            "ETLOG_CATEGORIES": "cloudcost=CloudCostSet, network=NetworkSet",
            "ETLOG_TIMEZONE": "Europe/Berlin",
            "ETLOG_API_TOKEN": f"{TOKEN}, {OTHER_TOKEN}",
            "ETLOG_HOST": "0.0.0.0",
            "ETLOG_PORT": "8080",
            "ETLOG_CONFIG": "~/etlog.toml",
            "ETLOG_PAGE_URL": "https://etlog.example.com:8443/etl/",
            "ETLOG_LOG_LEVEL": "debug",
            "ETLOG_LOG_FORMAT": "JSON",
        }
    )

    assert settings.redis_url == "rediss://store.example:6380/2"
    assert settings.keys == Keys("nightly-2.b_c")
    assert (settings.cap, settings.keep_sets, settings.retain, settings.port) == (50, 500, 0, 8080)
    assert settings.categories == {"cloudcost": "CloudCostSet", "network": "NetworkSet"}
    assert settings.timezone == ZoneInfo("Europe/Berlin")
    assert settings.api_token == (TOKEN, OTHER_TOKEN)
    assert settings.host == "0.0.0.0"
    assert settings.config == Path.home() / "etlog.toml"
    assert settings.page_url == "https://etlog.example.com:8443/etl"
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")


def test_an_empty_variable_is_not_set() -> None:
    """Compose files and shells pass on what is not set as an empty text."""
    assert Settings.from_environment({variable_of(field.name): "" for field in fields(Settings)}) == Settings()


def test_several_logs_are_named_in_their_order() -> None:
    """The default log is the first of them, unless `ETLOG_NAME` says which."""
    names = {"ETLOG_NAMES": "nightly, hourly,default"}

    assert Settings.from_environment(names).logs == ("nightly", "hourly", "default")
    assert Settings.from_environment(names).name == "nightly"
    assert Settings.from_environment({**names, "ETLOG_NAME": "hourly"}).name == "hourly"
    assert Settings.from_environment({"ETLOG_NAME": "hourly"}).logs == ("hourly",)


def test_the_default_log_is_one_of_the_logs() -> None:
    """What is published to another would never be applied."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ETLOG_NAMES": "nightly,hourly", "ETLOG_NAME": "daily"})

    assert str(refused.value) == "ETLOG_NAME must be one of ETLOG_NAMES, nightly, hourly, not 'daily'"


def test_a_token_may_be_limited_to_logs() -> None:
    """By their names behind it."""
    settings = Settings.from_environment({"ETLOG_API_TOKEN": f"{TOKEN},{OTHER_TOKEN}:nightly+tenant-1.b"})

    assert [(token.secret, token.logs) for token in settings.tokens] == [
        (TOKEN, None),
        (OTHER_TOKEN, {"nightly", "tenant-1.b"}),
    ]
    assert settings.public()["ETLOG_API_TOKEN"] == "2 set"
    assert TOKEN not in repr(settings.tokens)


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another one is given."""
    monkeypatch.setenv("ETLOG_CAP", "7")

    assert Settings.from_environment().cap == 7


BAD_VALUES = {
    "ETLOG_REDIS_URL": [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis:/host",
        "REDIS://host",
        "redis://host:port",
    ],
    "ETLOG_NAME": ["a b", "-a", "{a}", "a:b", "a" * 65, "a\nb", "ä", "a/b", "*"],
    "ETLOG_NAMES": ["a,b c", "a,", ",", "a,b,a", "a;b", "a,{b}"],
    "ETLOG_CAP": ["0", "-1", "ten", "1.5", "1e3", "1000001", "٣", "9" * 5000, " "],
    "ETLOG_KEEP_SETS": ["0", "-1", "all", "2.0", "50001"],
    "ETLOG_RETAIN": ["-1", "all", "0x10"],
    "ETLOG_CATEGORIES": [
        "cloudcost",
        "=CloudCostSet",
        "cloudcost=",
        "CloudCost=CloudCostSet",
        "cloud cost=CloudCostSet",
        "cloudcost=cloudCostSet",
        "cloudcost=CloudCostSet,cloudcost=OtherSet",
        "cloudcost=CloudCostSet,other=CloudCostSet",
        "asset=OtherSet",
        "other=AssetSet",
        "counters=OtherSet",
        "a=B=C",
    ],
    "ETLOG_TIMEZONE": ["Berlin", "+25:00", "utc+1", "../etc/passwd", "Europe/", "+5"],
    "ETLOG_API_TOKEN": [
        *(f"{TOKEN}:", f"{TOKEN}:a+", f"{TOKEN}:a b", f"{TOKEN}:a:b", f":{TOKEN}", f"{TOKEN}:a,{TOKEN}:b"),
        *("short", f"{TOKEN},", f"{TOKEN} {OTHER_TOKEN}", f"{TOKEN}\n{OTHER_TOKEN}", "ä" * 20),
    ],
    "ETLOG_HOST": ["a b", " ", "a\tb"],
    "ETLOG_PORT": ["0", "65536", "http", "-1"],
    "ETLOG_READ_FROM": ["secondary", "1"],
    "ETLOG_SPOOL_DIR": ["spool", "./spool", " "],
    "ETLOG_CONFIG": ["etlog.toml", "~no-such-user/etlog.toml", "./etlog.toml", " ", "/a\0b"],
    "ETLOG_PAGE_URL": [
        *("etlog.example.com", "https://", "https:///etl", "ftp://etlog.example.com", "//etlog.example.com", " "),
        *("https://host:port", "https://host:0", "https://[::1", "https://a b", "https://host/a b", "https://host/\n"),
        *("https://host?log=a", "https://host/?", "https://host/#now", "https://user@host", "https://user:pw@host"),
    ],
    "ETLOG_METRICS_PORT": ["65536", "http", "-1"],
    "ETLOG_LOG_LEVEL": ["LOUD", "20"],
    "ETLOG_LOG_FORMAT": ["xml"],
}


def test_every_setting_is_tried_with_bad_values() -> None:
    """A setting that is added later comes here as well."""
    assert set(BAD_VALUES) == {variable_of(field.name) for field in fields(Settings)}


@pytest.mark.parametrize(
    ("variable", "value"), [(variable, value) for variable, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_gives_one_line_that_names_the_variable(variable: str, value: str) -> None:
    """Who reads it knows what to correct."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({variable: value})

    message = str(refused.value)
    assert message.startswith((f"{variable} must be ", f"{variable} names ", f"{variable} is not "))
    assert len(message.splitlines()) == 1
    assert isinstance(refused.value, EtlogError)


def test_the_message_says_what_was_meant_and_what_was_found() -> None:
    """In the words of the one who set it."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ETLOG_CAP": "ten"})

    assert str(refused.value) == "ETLOG_CAP must be a whole number from 1 to 1000000, not 'ten'"


@pytest.mark.parametrize(
    "address",
    [
        "http://user:hunter2@host",
        "user:hunter2@host",
        "redis:/user:hunter2@host",
        "redis://user:hunter2/@host",
        "redis://user:/hunter2@host",
        "redis://user:hunter2#@host",
        "redis://user:?hunter2@host",
        "redis://user:hunter2@host:port",
        "redis://host?passwrd=hunter2",
    ],
)
def test_a_refused_address_is_not_repeated(address: str) -> None:
    """It may hold a password."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ETLOG_REDIS_URL": address})

    assert "hunter2" not in str(refused.value)


def test_a_refused_address_of_the_page_is_not_repeated() -> None:
    """It may hold a password, too."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ETLOG_PAGE_URL": "https://user:hunter2@host"})

    assert "hunter2" not in str(refused.value)


def test_a_refused_token_is_not_repeated() -> None:
    """It may be nearly right."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ETLOG_API_TOKEN": f"{TOKEN} {OTHER_TOKEN}"})

    assert TOKEN not in str(refused.value)
    assert OTHER_TOKEN not in str(refused.value)


def test_what_may_be_shown_holds_every_setting_and_no_secret() -> None:
    """A bug report carries it."""
    settings = Settings.from_environment(
        {
            "ETLOG_REDIS_URL": "redis://user:hunter2@host:6379/0?password=hunter3",
            "ETLOG_API_TOKEN": f"{TOKEN},{OTHER_TOKEN}",
            "ETLOG_CATEGORIES": "cloudcost=CloudCostSet,network=NetworkSet",
        }
    )

    shown = settings.public()

    assert set(shown) == {variable_of(field.name) for field in fields(Settings)}
    assert shown["ETLOG_REDIS_URL"] == "redis://host:6379/0"
    assert shown["ETLOG_API_TOKEN"] == "2 set"
    assert shown["ETLOG_CATEGORIES"] == "cloudcost=CloudCostSet,network=NetworkSet"
    assert Settings().public()["ETLOG_API_TOKEN"] == "not set"
    assert not [text for text in shown.values() if "hunter" in text or TOKEN in text or OTHER_TOKEN in text]


def test_the_text_of_the_settings_holds_no_secret() -> None:
    """It may end up in a log line or a traceback."""
    settings = Settings.from_environment(
        {"ETLOG_REDIS_URL": "redis://user:hunter2@host:6379/0", "ETLOG_API_TOKEN": TOKEN}
    )

    assert "hunter2" not in repr(settings)
    assert TOKEN not in repr(settings)


def test_the_kinds_follow_the_categories() -> None:
    """Beside allocation and asset, which every log has."""
    settings = Settings.from_environment({"ETLOG_CATEGORIES": "cloudcost=CloudCostSet"})

    assert Settings().kinds == KUBECOST_KINDS
    assert list(settings.kinds.categories) == ["allocation", "asset", "cloudcost"]
    assert settings.kinds.by_name["CloudCostSetSaved"].category == "cloudcost"


def test_a_category_may_not_be_slipped_in_afterwards() -> None:
    """Settings are values: what was read once holds."""
    settings = Settings.from_environment({"ETLOG_CATEGORIES": "cloudcost=CloudCostSet"})

    with pytest.raises(TypeError):
        settings.categories["other"] = "OtherSet"  # type: ignore[index]
