"""Companions: what stands beside a URL of Celery's reaches our client, under the URL and our own options."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from celery import Celery
from redis import CredentialProvider

from celery_redislock import ConfigurationError
from celery_redislock.config.provider import provider_of

SECRET = "s3cr3tword"


class Rotating(CredentialProvider):
    """A provider that takes no arguments, as one that is named by its path must."""

    def get_credentials(self) -> tuple[str, str]:
        """Return user and password."""
        return "rotating", SECRET


class Failing(CredentialProvider):
    """A provider that cannot be created."""

    def __init__(self) -> None:
        raise ValueError(SECRET)


PATH = f"{__name__}:{Rotating.__name__}"

#: URL setting -> the setting with what TLS needs.
TLS = {"broker_url": "broker_use_ssl", "result_backend": "redis_backend_use_ssl"}


def reached(**settings: Any) -> dict[str, Any]:
    """Return what the connections of the locks are made of, with these settings of Celery's."""
    return dict(pool(**settings).connection_kwargs)


def pool(**settings: Any) -> Any:
    """Return the pool of the client for locks."""
    app = Celery("companions", set_as_current=False)
    app.conf.update(settings)
    return provider_of(app).client.connection_pool


def connection(**settings: Any) -> Any:
    """Return a connection that is not open yet."""
    return pool(**settings).make_connection()


@pytest.mark.parametrize("url", TLS)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize("word", [ssl.CERT_NONE, "CERT_NONE", "none", None])
def test_a_check_that_celery_leaves_out_is_left_out(url: str, scheme: str, word: object) -> None:
    made = connection(**{url: f"{scheme}://h", TLS[url]: {"ssl_cert_reqs": word}})

    assert made.cert_reqs == ssl.CERT_NONE


@pytest.mark.parametrize("url", TLS)
@pytest.mark.parametrize("word", [ssl.CERT_REQUIRED, "CERT_REQUIRED", "required"])
def test_files_of_celerys_are_used(url: str, word: object) -> None:
    files = {"ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}
    made = connection(**{url: "rediss://h", TLS[url]: {"ssl_cert_reqs": word, **files}})

    assert (made.ca_certs, made.certfile, made.keyfile) == tuple(files.values())
    assert made.cert_reqs == ssl.CERT_REQUIRED


@pytest.mark.parametrize("said", [True, {}, None, False])
def test_what_says_nothing_changes_nothing(said: object) -> None:
    assert connection(broker_url="rediss://h", broker_use_ssl=said).cert_reqs == ssl.CERT_REQUIRED
    assert not hasattr(connection(broker_url="redis://h", broker_use_ssl=said), "cert_reqs")


def test_each_url_has_its_own_companions() -> None:
    settings = {
        "broker_use_ssl": {"ssl_cert_reqs": "none"},
        "broker_password": SECRET,
        "broker_transport_options": {"health_check_interval": 7},
    }

    made = reached(broker_url="redis://b", result_backend="rediss://r", **settings)
    own = reached(broker_url="redis://b", redislock_url="rediss://l", redis_password=SECRET, **settings)

    for kwargs in (made, own):
        assert kwargs["ssl_cert_reqs"] == "required"
        assert kwargs.get("credential_provider") is None
        assert kwargs["health_check_interval"] == 0


def test_our_options_win_and_so_does_the_url() -> None:
    by_option = connection(
        broker_url="rediss://h",
        broker_use_ssl={"ssl_cert_reqs": "none", "ssl_ca_certs": "/theirs"},
        redislock_client_options={"ssl_cert_reqs": "required", "ssl_ca_certs": "/ours"},
    )
    by_url = connection(
        result_backend="rediss://h?ssl_cert_reqs=required", redis_backend_use_ssl={"ssl_cert_reqs": "none"}
    )

    assert (by_option.cert_reqs, by_option.ca_certs) == (ssl.CERT_REQUIRED, "/ours")
    assert by_url.cert_reqs == ssl.CERT_REQUIRED


def test_the_time_outs_stay_our_own() -> None:
    slow = {
        "socket_timeout": 120,
        "socket_connect_timeout": 60,
        "client_name": "theirs",
        "max_connections": 1,
    }
    kwargs = reached(broker_url="redis://h", broker_transport_options=slow)

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (5, 5)
    assert kwargs["client_name"] == "celery_redislock"


def test_keep_alive_and_health_checks_are_taken_over() -> None:
    alive = {"socket_keepalive": True, "socket_keepalive_options": {4: 60}, "health_check_interval": 25}
    of_broker = reached(broker_url="redis://h", broker_transport_options=alive)
    of_backend = reached(result_backend="redis://h", redis_backend_health_check_interval=25)

    assert alive.items() <= of_broker.items()
    assert of_backend["health_check_interval"] == 25


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"result_backend": "redis://h", "redis_password": SECRET}, (SECRET,)),
        ({"result_backend": "redis://h", "redis_username": "u", "redis_password": SECRET}, ("u", SECRET)),
        ({"result_backend": f"redis://:{SECRET}@h", "redis_username": "u"}, ("u", SECRET)),
        ({"result_backend": f"redis://v:{SECRET}@h", "redis_password": "other"}, ("v", SECRET)),
        ({"broker_url": "redis://h", "broker_user": "u", "broker_password": SECRET}, ("u", SECRET)),
        (
            {"result_backend": "redis://h", "redis_backend_credential_provider": Rotating()},
            ("rotating", SECRET),
        ),
        ({"result_backend": "redis://h", "redis_backend_credential_provider": PATH}, ("rotating", SECRET)),
        ({"result_backend": f"redis://u:x@h?credential_provider={PATH}"}, ("rotating", SECRET)),
        (
            {"broker_url": f"redis://h?credential_provider={PATH}", "broker_password": "x"},
            ("rotating", SECRET),
        ),
        (
            {
                "result_backend": "redis://h",
                "redis_password": "x",
                "redis_backend_credential_provider": Rotating(),
            },
            ("rotating", SECRET),
        ),
        (
            {
                "result_backend": "redis://h",
                "redis_backend_credential_provider": Rotating(),
                "redislock_client_options": {"password": "ours"},
            },
            ("ours",),
        ),
        (
            {
                "broker_url": "redis://h",
                "broker_password": "x",
                "redislock_client_options": {"credential_provider": Rotating()},
            },
            ("rotating", SECRET),
        ),
    ],
)
def test_who_celery_logs_in_as_the_locks_log_in_as(settings: dict[str, Any], sent: tuple[str, ...]) -> None:
    assert reached(**settings)["credential_provider"].get_credentials() == sent


@pytest.mark.parametrize(
    ("settings", "server"),
    [
        ({"result_backend": "redis://"}, ("localhost", 6379)),
        ({"result_backend": "redis://", "redis_host": "r", "redis_port": 6380}, ("r", 6380)),
        ({"result_backend": "redis://h", "redis_host": "r", "redis_port": 6380}, ("h", 6380)),
        ({"broker_url": "redis://"}, ("127.0.0.1", 6379)),
        ({"broker_url": "redis:///3", "broker_port": 6381}, ("127.0.0.1", 6381)),
    ],
)
def test_a_url_without_a_host_leads_where_celery_goes(
    settings: dict[str, Any], server: tuple[str, int]
) -> None:
    kwargs = reached(**settings)

    assert (kwargs["host"], kwargs["port"]) == server


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("result_backend", "result_backend_transport_options"),
        ("broker_url", "broker_transport_options"),
    ],
)
def test_behind_sentinels_tls_of_the_master_and_of_the_sentinels_are_two(url: str, options: str) -> None:
    to_sentinels = {"ssl": True, "ssl_ca_certs": "/sentinels.pem"}
    settings = {
        url: "sentinel://a:26379;sentinel://b:26379",
        TLS[url]: {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": "/master.pem"},
        options: {"master_name": "m", "sentinel_kwargs": to_sentinels},
    }

    of_master = pool(**settings)
    plain = pool(**{**settings, options: {"master_name": "m"}})

    assert of_master.make_connection().ca_certs == "/master.pem"
    for sentinel in of_master.sentinel_manager.sentinels:
        made = sentinel.connection_pool.make_connection()
        assert (made.ca_certs, made.cert_reqs) == ("/sentinels.pem", ssl.CERT_REQUIRED)
    for sentinel in plain.sentinel_manager.sentinels:
        assert not hasattr(sentinel.connection_pool.make_connection(), "ca_certs")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"broker_use_ssl": {"ssl_cert_reqs": "maybe"}}, "broker_use_ssl has a wrong 'ssl_cert_reqs'"),
        (
            {"broker_use_ssl": {"certfile": "/c"}},
            "broker_use_ssl has 'certfile', which redis-py does not accept",
        ),
        ({"broker_use_ssl": {"ssl_quack": 1}}, "together with broker_url"),
        ({"broker_port": "soon"}, "broker_port must be a port"),
        ({"broker_url": "redis://h?credential_provider=no.such:Class"}, "'no.such:Class' cannot be created"),
        (
            {"broker_url": f"redis://h?credential_provider={__name__}:Failing"},
            "cannot be created (ValueError)",
        ),
    ],
)
def test_a_wrong_companion_is_refused_by_its_name(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        reached(**{"broker_url": "redis://h", **settings})

    assert told in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.__context__}"


def test_no_password_is_in_a_repr() -> None:
    made = pool(result_backend="redis://h", redis_username="u", redis_password=SECRET)

    assert SECRET not in f"{made!r} {made.connection_kwargs}"
