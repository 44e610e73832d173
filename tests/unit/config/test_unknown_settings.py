"""Settings: read and spelled as Celery and the user do; a name like ours that nobody reads is refused."""

from __future__ import annotations

import types

import pytest
from celery import Celery

from celery_redislock.config.location import store_settings
from celery_redislock.config.options import OPTIONS
from celery_redislock.config.resolution import resolve
from celery_redislock.config.unknown_settings import check_unknown_settings
from celery_redislock.errors import ConfigurationError


def celery_app(conf: object = None, namespace: str | None = None) -> Celery:
    app = Celery("t", set_as_current=False)
    if conf is not None:
        app.config_from_object(conf, namespace=namespace)
    return app


def module(**names):
    made = types.ModuleType("settings")
    vars(made).update(names)
    return made


@pytest.mark.parametrize(
    ("conf", "namespace"),
    [
        ({"redislock_ttl": 7}, None),
        (module(redislock_ttl=7), None),
        ({"CELERY_REDISLOCK_TTL": 7}, "CELERY"),
        (module(CELERY_REDISLOCK_TTL=7, REDISLOCK_TTL=3, REDISLOCK_HOST="h"), "CELERY"),
        (module(REDISLOCK_TTL=7, redislock_ttl=7, REDISLOCK_HOST="h"), None),
    ],
)
def test_settings_are_read_as_celery_reads_them(conf, namespace):
    app = celery_app(conf, namespace)

    check_unknown_settings(app.conf)
    assert resolve(app.conf, "t", {}).ttl_ms == 7_000


def test_settings_set_on_the_app_are_read():
    app = celery_app({"CELERY_REDISLOCK_WAIT": 1}, "CELERY")
    app.conf.redislock_ttl = 7
    app.conf.update(redislock_mode="off")
    app.add_defaults({"redislock_min_hold": 2})

    check_unknown_settings(app.conf)
    resolved = resolve(app.conf, "t", {})
    assert (resolved.ttl_ms, resolved.wait_ms, resolved.mode, resolved.min_hold_ms) == (
        7_000,
        1_000,
        "off",
        2_000,
    )


def test_all_settings_of_this_version_are_known():
    check_unknown_settings(
        dict.fromkeys(["redislock_url", "redislock_prefix", "redislock_client_options", "broker_url"])
        | dict.fromkeys(["redislock_beat_scheduler", "redislock_beat_name", "redislock_beat_ttl"])
        | {f"redislock_{name}": None for name in OPTIONS}
    )


@pytest.mark.parametrize(
    ("conf", "namespace", "spelled"),
    [
        ({"redislock_tll": 7}, None, "redislock_tll"),
        (module(redislock_tll=7), None, "redislock_tll"),
        ({"CELERY_REDISLOCK_TLL": 7}, "CELERY", "CELERY_REDISLOCK_TLL"),
        (module(CELERY_REDISLOCK_TLL=7), "CELERY", "CELERY_REDISLOCK_TLL"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_and_the_valid_ones(conf, namespace, spelled):
    with pytest.raises(ConfigurationError) as caught:
        check_unknown_settings(celery_app(conf, namespace).conf)

    message = str(caught.value)
    right = spelled.replace("TLL", "TTL").replace("tll", "ttl")
    assert f"{spelled} setting is not a setting of celery_redislock; did you mean {right!r}?" in message
    prefix = "CELERY_REDISLOCK" if namespace else "redislock"
    assert f"valid: {prefix}_url, {prefix}_prefix," in message.replace("_URL, ", "_url, ").replace(
        "_PREFIX,", "_prefix,"
    )


def test_an_unknown_setting_set_on_the_app_is_refused():
    app = celery_app()
    app.conf.redislock_beat_tick = 15
    with pytest.raises(ConfigurationError, match="redislock_beat_tick setting is not a setting"):
        check_unknown_settings(app.conf)


@pytest.mark.parametrize(
    ("conf", "namespace", "right"),
    [
        (module(REDISLOCK_TTL=7), None, "redislock_ttl"),
        (module(CELERY_REDISLOCK_TTL=7), None, "redislock_ttl"),
        (module(CELERY_redislock_ttl=7), "CELERY", "CELERY_REDISLOCK_TTL"),
        # Django's settings, without what Celery looks for
        (module(REDISLOCK_TTL=7), "CELERY", "CELERY_REDISLOCK_TTL"),
        (module(CELERY_TTL=7), "CELERY", "CELERY_REDISLOCK_TTL"),
        (module(CELERY_LOCK_TTL=7), "CELERY", "CELERY_REDISLOCK_TTL"),
        (module(ttl=7), None, "redislock_ttl"),
        (module(redis_lock_ttl=7), None, "redislock_ttl"),
        (module(REDIS_LOCK_URL="redis://"), None, "redislock_url"),
        (module(CELERY_REDIS_LOCK_SCOPE="task"), "CELERY", "CELERY_REDISLOCK_SCOPE"),
        (module(CELERY_REDISLOCKTTL=7), "CELERY", "CELERY_REDISLOCK_TTL"),
        *((module(**{f"lock_{word}": 1}), None, f"redislock_{word}") for word in OPTIONS),
        *(
            (module(**{f"CELERY_LOCK_{word.upper()}": 1}), "CELERY", f"CELERY_REDISLOCK_{word.upper()}")
            for word in OPTIONS
        ),
    ],
)
def test_a_spelling_that_celery_does_not_read_is_refused(conf, namespace, right):
    with pytest.raises(ConfigurationError, match=f"Celery does not read .*: write {right}$"):
        check_unknown_settings(celery_app(conf, namespace).conf)


@pytest.mark.parametrize("name", ["redis_max_connections", "my_redislock_ttl", "REDISLOCK_HOST"])
def test_settings_of_others_are_left_alone(name):
    check_unknown_settings(celery_app({name: 1}).conf)


@pytest.mark.parametrize("word", OPTIONS)
def test_a_word_of_ours_that_is_set_on_the_app_without_its_prefix_is_refused(word):
    for namespace, settings in ((None, {}), ("CELERY", {"CELERY_TIMEZONE": "UTC"})):
        for written in (word, f"lock_{word}"):
            app = celery_app(settings, namespace)
            app.conf[written] = 1

            with pytest.raises(
                ConfigurationError, match=f"(?i)not read the setting {written}: write .*redislock_{word}$"
            ):
                check_unknown_settings(app.conf)


@pytest.mark.parametrize(
    ("conf", "namespace"),
    [
        (
            module(key="of a variable", args=(), mode="x", wait=1, keep=True, scope="x", LOCK_TTL=5, TTL=5),
            None,
        ),
        (module(ttl=5, LOCK_TTL=5, TTL=5, CELERY_KEY="x", CELERY_MODE="x", REDISLOCK_HOST="h"), "CELERY"),
        (module(REDISLOCK_TTL=5, CELERY_REDISLOCK_TTL=5, CELERY_LOCK_TTL=5), "CELERY"),
        (module(REDIS_LOCK_URL="u", REDIS_LOCK_TTL=5, CELERY_REDIS_LOCK_HOST="h"), "CELERY"),
        (module(REDIS_LOCK_URL="u", redislock_url="u"), None),
    ],
)
def test_names_of_the_users_own_are_left_alone(conf, namespace):
    check_unknown_settings(celery_app(conf, namespace).conf)


@pytest.mark.parametrize(
    ("settings", "is_named"),
    [
        ({"CELERY_REDISLOCK_TTL": "soon"}, "CELERY_REDISLOCK_TTL setting"),
        (
            {"CELERY_REDISLOCK_MIN_HOLD": 9, "CELERY_REDISLOCK_MAX_HOLD": 1},
            "CELERY_REDISLOCK_MIN_HOLD setting",
        ),
        ({"CELERY_REDISLOCK_URL": ""}, "CELERY_REDISLOCK_URL setting"),
        ({"CELERY_REDISLOCK_PREFIX": 5}, "CELERY_REDISLOCK_PREFIX setting"),
        ({"CELERY_REDISLOCK_CLIENT_OPTIONS": 5}, "CELERY_REDISLOCK_CLIENT_OPTIONS setting"),
        ({}, "neither CELERY_RESULT_BACKEND nor CELERY_BROKER_URL .*set CELERY_REDISLOCK_URL"),
    ],
)
def test_a_message_spells_a_setting_as_the_user_does(settings, is_named):
    conf = celery_app(settings, "CELERY").conf

    with pytest.raises(ConfigurationError, match=is_named):
        (resolve(conf, "t", {}), store_settings(conf))


def test_a_message_spells_a_setting_that_was_set_on_the_app_as_it_was_set():
    app = celery_app({"CELERY_TIMEZONE": "UTC"}, "CELERY")
    app.conf.redislock_ttl = "soon"

    with pytest.raises(ConfigurationError, match=r"^redislock_ttl setting"):
        resolve(app.conf, "t", {})
