"""Settings: which Redis keeps the locks, and what their keys begin with."""

from __future__ import annotations

import pytest
from celery import Celery

from celery_redislock.config.location import store_settings
from celery_redislock.errors import ConfigurationError


def celery_app(conf: object) -> Celery:
    app = Celery("t", set_as_current=False)
    app.config_from_object(conf)
    return app


@pytest.mark.parametrize(
    ("conf", "url", "setting"),
    [
        ({"redislock_url": "redis://l"}, "redis://l", "redislock_url"),
        ({"redislock_url": "valkey://l", "result_backend": "redis://r"}, "valkey://l", "redislock_url"),
        ({"redislock_url": "quack://l", "result_backend": "redis://r"}, "quack://l", "redislock_url"),
        ({"result_backend": "redis://r", "broker_url": "redis://b"}, "redis://r", "result_backend"),
        (
            {"result_backend": "rediss://r?ssl_cert_reqs=none"},
            "rediss://r?ssl_cert_reqs=none",
            "result_backend",
        ),
        ({"result_backend": "rpc://", "broker_url": "redis://b"}, "redis://b", "broker_url"),
        ({"result_backend": "redis", "broker_url": "redis://b"}, "redis://b", "broker_url"),
        (
            {"broker_url": "redis+socket:///s?virtual_host=1"},
            "redis+socket:///s?virtual_host=1",
            "broker_url",
        ),
        ({"broker_url": "unix:///s"}, "unix:///s", "broker_url"),
        ({"broker_url": ["redis://b"]}, "redis://b", "broker_url"),
        # Never another Redis than a later version will take for the same settings:
        ({"result_backend": "sentinel://s", "broker_url": "redis://b"}, "sentinel://s", "result_backend"),
    ],
)
def test_the_locks_are_kept_where_the_settings_say(conf, url, setting):
    store = store_settings(celery_app(conf).conf)

    assert (store.url, store.setting, store.prefix) == (url, setting, "redislock:")
    assert dict(store.client_options) == {}


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"broker_url": "amqp://user:s3cr3t@h//", "result_backend": "db+sqlite:///s3cr3t"},
        {"broker_url": "redis://:s3cr3t@a;redis://:s3cr3t@b"},
        {"broker_url": ["redis://:s3cr3t@a", "redis://:s3cr3t@b"]},
        {"broker_url": "s3cr3t"},
        {"broker_url": []},
    ],
)
def test_without_one_redis_the_message_says_what_was_looked_at_and_what_to_set(conf):
    with pytest.raises(ConfigurationError) as caught:
        store_settings(celery_app(conf).conf)

    message = str(caught.value)
    assert "result_backend" in message
    assert "broker_url" in message
    assert "set redislock_url, for example redis://localhost:6379/0" in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize("wrong", ["", " ", 6379, ["redis://:s3cr3t@h"], b"redis://:s3cr3t@h"])
def test_a_redislock_url_that_is_no_text_is_refused_and_not_replaced_by_another(wrong):
    with pytest.raises(ConfigurationError, match="redislock_url setting must be a URL") as caught:
        store_settings({"redislock_url": wrong, "broker_url": "redis://b"})
    assert "s3cr3t" not in str(caught.value)


def test_the_urls_of_the_environment_count_as_they_do_for_celery(monkeypatch):
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://from-environment")

    store = store_settings(celery_app({"result_backend": "redis://r"}).conf)

    assert store.url == "redis://from-environment"


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("result_backend", "result_backend_transport_options"),
        ("broker_url", "broker_transport_options"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_sentinels_as_celery_spells_them_are_one_redis(setting, options, as_list):
    url = "sentinel://a:26379/1;sentinel://b:26379/1"
    if as_list and setting == "broker_url":
        url = url.split(";")
    celerys = {"master_name": "mymaster", "sentinel_kwargs": {"password": "s3cr3t"}}

    store = store_settings(celery_app({setting: url, options: celerys}).conf)

    assert (store.setting, store.companions.service) == (setting, "mymaster")
    assert store.url == "sentinel://a:26379/1;sentinel://b:26379/1"
    assert store.companions.sentinel_kwargs == {"password": "s3cr3t"}
    assert "s3cr3t" not in repr(store)


def test_prefix_and_client_options_are_taken_over():
    given = {"socket_timeout": 1}
    store = store_settings(
        {"redislock_url": "redis://h", "redislock_prefix": "", "redislock_client_options": given}
    )
    given["socket_timeout"] = 2

    assert store.prefix == ""
    assert store.client_options == {"socket_timeout": 1}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("redislock_prefix", 5),
        ("redislock_prefix", b"redislock:"),
        ("redislock_client_options", ["socket_timeout"]),
        ("redislock_client_options", "socket_timeout=5"),
        ("redislock_client_options", {5: 5}),
    ],
)
def test_prefix_and_client_options_of_a_wrong_type_are_refused(name, wrong):
    with pytest.raises(ConfigurationError, match=f"{name} setting must be"):
        store_settings({"redislock_url": "redis://h", name: wrong})


def test_the_repr_of_store_settings_shows_no_password():
    store = store_settings(
        {"redislock_url": "redis://:s3cr3t@h", "redislock_client_options": {"password": "s3cr3t"}}
    )
    assert "s3cr3t" not in repr(store)
