"""URL -> redis client: what users write works, what is wrong is told, passwords stay hidden."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.config.celery_connection import Companions
from celery_redislock.config.client import client_from_url
from celery_redislock.config.urls import redacted
from celery_redislock.errors import ConfigurationError

SECRET = "s3cr3tword"


def kwargs_of(url: str, **options: object) -> dict:
    client = client_from_url(url, setting="redislock_url", options=options)
    return client.connection_pool.connection_kwargs


def refusal(url: object, setting: str = "redislock_url", **options: object) -> str:
    """The message of the refusal, after a look for the password in the whole chain of errors."""
    with pytest.raises(ConfigurationError) as caught:
        client_from_url(url, setting=setting, options=options)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {error.args!r}"
        error = error.__cause__ or error.__context__
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "db"),
    [
        ("redis://h", "h", 6379, 0),
        ("redis://h/", "h", 6379, 0),
        ("redis://h:7001/3", "h", 7001, 3),
        ("REDIS://h/3/", "h", 6379, 3),
        ("redis://h?db=4", "h", 6379, 4),
        ("redis://h/4?db=4", "h", 6379, 4),
        ("redis://h?virtual_host=/5", "h", 6379, 5),
        ("redis://[::1]:7001/3", "::1", 7001, 3),
        ("valkey://h/1", "h", 6379, 1),
        ("rediss://h/1", "h", 6379, 1),
        ("valkeys://h/1", "h", 6379, 1),
    ],
)
def test_a_url_leads_to_its_host_port_and_database(url, host, port, db):
    kwargs = kwargs_of(url)

    assert (kwargs["host"], kwargs["port"], kwargs["db"]) == (host, port, db)


@pytest.mark.parametrize("url", ["redis://h", "valkey://h"])
def test_plain_schemes_use_no_tls(url):
    pool = client_from_url(url, setting="redislock_url").connection_pool
    assert not issubclass(pool.connection_class, redis.SSLConnection)


@pytest.mark.parametrize("url", ["rediss://h", "valkeys://h"])
def test_tls_schemes_use_tls_and_check_certificates(url):
    pool = client_from_url(url, setting="redislock_url").connection_pool

    assert issubclass(pool.connection_class, redis.SSLConnection)
    assert pool.make_connection().cert_reqs == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "db"),
    [
        ("unix:///run/a%20b.sock", 0),
        ("unix:///run/a%20b.sock?db=1", 1),
        ("unix://user:pw@/run/a%20b.sock?db=1", 1),
        ("socket:///run/a%20b.sock?virtual_host=2", 2),
        ("redis+socket:///run/a%20b.sock?virtual_host=2", 2),
    ],
)
def test_unix_sockets_work_in_redis_pys_and_celerys_spelling(url, db):
    pool = client_from_url(url, setting="redislock_url").connection_pool

    assert issubclass(pool.connection_class, redis.UnixDomainSocketConnection)
    assert (pool.connection_kwargs["path"], pool.connection_kwargs["db"]) == ("/run/a b.sock", db)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("required", ssl.CERT_REQUIRED),
        ("CERT_OPTIONAL", ssl.CERT_OPTIONAL),
        ("optional", ssl.CERT_OPTIONAL),
        ("CERT_NONE", ssl.CERT_NONE),
        ("none", ssl.CERT_NONE),
    ],
)
def test_certificate_requirements_are_understood_as_celery_users_write_them(written, meant):
    in_url = client_from_url(f"rediss://h?ssl_cert_reqs={written}", setting="result_backend")
    in_options = client_from_url("rediss://h", setting="result_backend", options={"ssl_cert_reqs": written})
    as_constant = client_from_url("rediss://h", setting="result_backend", options={"ssl_cert_reqs": meant})

    for client in (in_url, in_options, as_constant):
        assert client.connection_pool.make_connection().cert_reqs == meant


def test_tls_files_may_be_given_in_the_url():
    kwargs = kwargs_of("rediss://h?ssl_ca_certs=%2Fca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem")

    assert (kwargs["ssl_ca_certs"], kwargs["ssl_certfile"], kwargs["ssl_keyfile"]) == (
        "/ca.pem",
        "/c.pem",
        "/k.pem",
    )


def test_the_client_has_its_own_timeouts_and_name():
    kwargs = kwargs_of("redis://h")

    assert kwargs["socket_timeout"] == kwargs["socket_connect_timeout"] == 5
    assert kwargs["client_name"] == "celery_redislock"


def test_options_beat_the_defaults_and_the_url_beats_the_options():
    kwargs = kwargs_of(
        "redis://h?socket_timeout=2", socket_timeout=3, socket_connect_timeout=1, client_name=None
    )

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (2, 1)
    assert kwargs["client_name"] is None


def test_decode_responses_and_protocol_may_be_chosen():
    kwargs = kwargs_of("redis://h?protocol=3", decode_responses=True)
    assert (kwargs["decode_responses"], kwargs["protocol"]) == (True, 3)


@pytest.mark.parametrize(
    ("url", "options", "sent"),
    [
        ("redis://:p%40ss@h", {}, ("p@ss",)),
        ("redis://user:p%2Fss@h", {}, ("user", "p/ss")),
        ("redis://h?username=user&password=p%40ss", {}, ("user", "p@ss")),
        ("unix:///s?password=p%26ss", {}, ("p&ss",)),
        ("redis://h", {"username": "user", "password": "pw"}, ("user", "pw")),
        ("redis://user@h", {"password": "pw"}, ("user", "pw")),
    ],
)
def test_user_and_password_reach_the_connection(url, options, sent):
    assert kwargs_of(url, **options)["credential_provider"].get_credentials() == sent


def test_without_a_password_nobody_logs_in():
    assert kwargs_of("redis://:@h").get("credential_provider") is None


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (f"redis://user:{SECRET}@h", {}),
        (f"redis://h?password={SECRET}", {}),
        (f"rediss://h?ssl_password={SECRET}", {}),
        ("rediss://h", {"password": SECRET, "ssl_password": SECRET}),
    ],
)
def test_the_repr_of_client_and_pool_shows_no_password(url, options):
    client = client_from_url(url, setting="redislock_url", options=options)
    connection = client.connection_pool.make_connection()

    shown = f"{client!r} {client.connection_pool!r} {connection!r} {client.connection_pool.connection_kwargs}"
    assert SECRET not in shown


def test_the_password_of_a_key_file_still_reaches_the_ssl_module():
    given = kwargs_of(f"rediss://h?ssl_password={SECRET}")["ssl_password"]
    assert given() == SECRET


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "is not a URL"),
        ("localhost:6379/0", "is not a URL"),
        (f":{SECRET}@localhost:6379/0", "is not a URL"),
        (None, "is not a URL"),
        (6379, "is not a URL"),
        ("http://h", "http://, which is not supported; supported: redis://"),
        ("amqp://guest:s3cr3tword@h//", "amqp://, which is not supported; supported: redis://"),
        ("sentinel://h", "has no service name: write sentinel://host:26379/0?service=name"),
        ("sentinel://h?service=", "'service' in its query: it must be not empty"),
        ("sentinel://?service=m", "must name hosts as host:port,host:port"),
        ("sentinel://h1,,h2?service=m", "must name hosts as host:port,host:port"),
        ("sentinel://h1:0,h2?service=m", "must name hosts as host:port,host:port with ports from 1 to 65535"),
        ("sentinel://h1:port,h2?service=m", "must name hosts as host:port,host:port"),
        ("sentinel://h1 h2?service=m", "must name hosts as host:port,host:port"),
        ("sentinel://h1;h2?service=m", "must name Sentinels as sentinel://host:port, between semicolons"),
        ("sentinel://h1;redis://h2", "must name Sentinels as sentinel://host:port, between semicolons"),
        ("sentinel://h1/0;sentinel://h2/1?service=m", "different users, databases or queries"),
        ("sentinel://:a@h1;sentinel://:b@h2?service=m", "different users, databases or queries"),
        ("sentinel://:a@h1,:b@h2?service=m", "must name hosts as host:port,host:port"),
        ("sentinel://h/x?service=m", "number of a database"),
        ("sentinel://h/1?service=m&db=2", "names two different databases"),
        ("sentinel://h?servise=m", "'servise'; did you mean 'service'?"),
        ("sentinel://h?service=m&ssl_ca_certs=/ca", "'ssl_ca_certs', which needs"),
        ("redis://h?service=m", "has an unknown query parameter 'service'"),
        ("redis+cluster://", "must name hosts as host:port,host:port"),
        ("redis+cluster://h1,h2:x", "must name hosts as host:port,host:port"),
        ("redis+cluster://h/1", "names a database, but a cluster has only one: leave it out"),
        ("redis+cluster://h?db=0", "names a database, but a cluster has only one: leave it out"),
        ("redis+cluster://h?service=m", "has an unknown query parameter 'service'"),
        ("redis://", "must name one host"),
        ("redis:///0", "must name one host"),
        ("redis://:6379/0", "must name one host"),
        ("redis://h1,h2", "must name one host"),
        ("redis://h1;redis://h2", "must name one host"),
        ("redis://h:port/0", "port is a number from 1 to 65535"),
        ("redis://h:0/0", "port is a number from 1 to 65535"),
        ("redis://h:65536/0", "port is a number from 1 to 65535"),
        ("redis://h:-1/0", "port is a number from 1 to 65535"),
        ("redis://[::1/0", "has no valid host and port"),
        ("redis://h/x", "number of a database"),
        ("redis://h/-1", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis://h/1.5", "number of a database"),
        ("redis://h/" + "9" * 5000, "number of a database"),
        ("redis://h?db=x", "'db' in its query: it must be the number of a database"),
        ("redis://h?db=-1", "'db' in its query: it must be the number of a database"),
        ("redis://h/1?db=2", "names two different databases"),
        ("redis+socket:///s?db=1&virtual_host=2", "names two different databases"),
        ("unix://", "must name a socket"),
        ("unix:///", "must name a socket"),
        ("unix://run/redis.sock", "with three slashes"),
        ("redis://h?socket_timout=5", "'socket_timout'; did you mean 'socket_timeout'?"),
        ("redis://h?quack=5", "'quack'; known are client_name, credential_provider,"),
        ("redis://h?socket_timeout=soon", "'socket_timeout' in its query: it must be a number of seconds"),
        ("redis://h?socket_timeout=0", "it must be a number of seconds above 0"),
        ("redis://h?socket_timeout=nan", "it must be a number of seconds above 0"),
        ("redis://h?socket_timeout=inf", "it must be a number of seconds above 0"),
        ("redis://h?socket_timeout=1&socket_timeout=2", "each name once"),
        ("redis://h?socket_timeout", "?name=value"),
        ("redis://h?protocol=4", "it must be 2 or 3"),
        ("redis://h?decode_responses=maybe", "it must be true or false"),
        ("redis://h?ssl_cert_reqs=none", "'ssl_cert_reqs', which needs rediss://"),
        ("rediss://h?ssl_cert_reqs=CERT_MAYBE", "it must be required, optional or none"),
        ("redis://:pw@h?password=pw", "twice"),
    ],
)
def test_a_wrong_url_is_refused_with_its_setting_and_the_cure(url, told):
    message = refusal(url)

    assert message.startswith("redislock_url ")
    assert told in message


def test_the_message_names_the_setting_that_the_url_came_from():
    assert refusal("redis://h/x", setting="result_backend").startswith("result_backend ")


MARKS = ["/", "?", "#", "@", ":", "[", "]", "&", "=", "?x=", "\uff03", " ", "\n", "%", "\\"]


@pytest.mark.parametrize("place", ["{}@h:6379/0", ":{}@h:6379/0", "user:{}@h:6379/0", "user:1{}@h/0?db=0"])
@pytest.mark.parametrize(
    "scheme", ["redis", "rediss", "unix", "redis+socket", "sentinel", "redis+cluster", "amqp", "redi s", ""]
)
def test_a_password_that_breaks_the_url_is_never_shown(scheme, place):
    passwords = [
        password
        for mark in MARKS
        for password in (f"{mark}{SECRET}", f"{SECRET}{mark}", f"x{mark}{SECRET}{mark}y")
    ]
    for url in (f"{scheme}://{place.format(password)}" for password in passwords):
        try:
            client = client_from_url(url, setting="redislock_url")
        except ConfigurationError:
            refusal(url)
        else:
            assert SECRET not in repr(client)
        if f"//{SECRET}:@" not in url:  # there it is the name of the user
            assert SECRET not in redacted(url)


@given(
    st.text(max_size=30),
    st.text(max_size=10),
    st.sampled_from(["redis", "unix", "valkeys", "sentinel", "redis+cluster", "x"]),
)
def test_no_text_of_a_url_raises_anything_but_a_configuration_error(text, tail, scheme):
    refused = None
    try:
        client_from_url(f"{scheme}://{text}@h/{tail}", setting="redislock_url")
    except ConfigurationError as error:
        refused = error
    assert refused is None or refused.__context__ is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"socket_timout": 5}, "has no option 'socket_timout'; did you mean 'socket_timeout'?"),
        ({"quack": 5}, "has no option 'quack'; known are"),
        ({"host": "h"}, "'host' is not allowed here: it comes from the URL"),
        ({"db": 1}, "'db' is not allowed here: it comes from the URL"),
        ({"ssl": True}, "'ssl' is not allowed here: it comes from the URL"),
        ({"connection_pool": None}, "'connection_pool' is not allowed here"),
        ({"socket_timeout": "5"}, "'socket_timeout' must be a number of seconds above 0"),
        ({"socket_timeout": None}, "'socket_timeout' must be a number of seconds above 0"),
        ({"socket_connect_timeout": True}, "'socket_connect_timeout' must be a number of seconds"),
        ({"ssl_cert_reqs": "maybe"}, "'ssl_cert_reqs' must be required, optional or none"),
        ({"max_connections": "many"}, "redis-py does not accept it together with redislock_url"),
        ({"retry": 3}, "redis-py does not accept it together with redislock_url"),
        ({"protocol": 7}, "redis-py does not accept it together with redislock_url"),
        ({"ssl_ca_certs": "/ca.pem"}, "need a rediss:// URL in redislock_url"),
    ],
)
def test_a_wrong_client_option_is_refused_before_anything_is_sent(options, told):
    message = refusal(f"redis://:{SECRET}@h", **options)

    assert "redislock_client_options" in message
    assert told in message


def test_a_password_beside_a_credential_provider_is_refused():
    provider = redis.UsernamePasswordCredentialProvider("user", SECRET)

    assert kwargs_of("redis://h", credential_provider=provider)["credential_provider"] is provider
    assert "not both" in refusal(f"redis://:{SECRET}@h", credential_provider=provider)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user:pw@h:6379/0", "redis://user:***@h:6379/0"),
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://pw@h:6379/0", "redis://***@h:6379/0"),
        ("redis://:p/w@h/0", "redis://:***@h/0"),
        ("redis://h/0?password=pw&db=1&ssl_password=pw", "redis://h/0?password=***&db=1&ssl_password=***"),
        ("redis://h/0?password=p@w", "redis://***"),
        ("sentinel://:a@h1;sentinel://:b@h2", "sentinel://:***@h2"),
        ("pw", "***"),
    ],
)
def test_a_redacted_url_keeps_what_is_no_secret(url, shown):
    assert redacted(url) == shown


class Server:
    """Answers every command with OK, one connection at a time, until it meets GET."""

    def __init__(self, cuts: int, *, silent: bool = False) -> None:
        self.gets = 0
        self._cuts = cuts
        self._silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}?protocol=2&socket_timeout=0.3"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(ConnectionError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while received := connection.recv(65536):
            is_get = b"GET" in received
            self.gets += is_get
            if is_get and self.gets <= self._cuts:
                return
            if not (is_get and self._silent):
                connection.sendall(b"+OK\r\n" * received.count(b"*"))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    with ExitStack() as servers:
        yield lambda *args, **kwargs: servers.enter_context(closing(Server(*args, **kwargs)))


def test_a_command_whose_connection_was_cut_is_sent_once_more(start):
    server = start(cuts=1)

    with client_from_url(server.url, setting="redislock_url") as client:
        assert client.get("key") in (b"OK", "OK")
    assert server.gets == 2


def test_a_command_whose_connection_is_cut_again_fails(start):
    server = start(cuts=9)

    client = client_from_url(server.url, setting="redislock_url")
    with client, pytest.raises(redis.ConnectionError):
        client.get("key")
    assert server.gets == 2


def test_a_command_that_timed_out_is_not_sent_again(start):
    server = start(cuts=0, silent=True)

    client = client_from_url(server.url, setting="redislock_url")
    with client, pytest.raises(redis.TimeoutError):
        client.get("key")
    assert server.gets == 1


@pytest.mark.parametrize(
    ("url", "service", "hosts", "db"),
    [
        ("sentinel://h1:26380,h2/3?service=m", "", [("h1", 26380), ("h2", 26379)], 3),
        ("redis+sentinel://h1?service=m", "", [("h1", 26379)], 0),
        ("sentinel://[::1]:7001,h2?service=m&db=2", "", [("::1", 7001), ("h2", 26379)], 2),
        ("sentinel://h1:1/3;sentinel://h2:2/3", "m", [("h1", 1), ("h2", 2)], 3),
        ("sentinel://h1:1;sentinel://h2:2;", "m", [("h1", 1), ("h2", 2)], 0),
        (
            f"sentinel://:{SECRET}@h1;sentinel://:{SECRET}@h2/1?service=m",
            "",
            [("h1", 26379), ("h2", 26379)],
            1,
        ),
    ],
)
def test_a_sentinel_url_leads_to_the_master_of_its_service(url, service, hosts, db):
    pool = client_from_url(
        url, setting="redislock_url", companions=Companions(service=service)
    ).connection_pool

    assert pool.service_name == "m"
    assert pool.connection_kwargs["db"] == db
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == hosts
    assert [each.get("credential_provider") for each in asked] == [None] * len(hosts)


def test_the_service_of_a_url_beats_that_of_the_transport_options():
    client = client_from_url(
        "sentinel://h?service=m", setting="result_backend", companions=Companions(service="other")
    )
    assert client.connection_pool.service_name == "m"


def test_sentinels_have_a_password_of_their_own():
    url, own = f"sentinel://:{SECRET}@h?service=m", {"sentinel_kwargs": {"password": f"{SECRET}2"}}
    client = client_from_url(url, setting="redislock_url", options=own)
    manager = client.connection_pool.sentinel_manager

    provider = manager.sentinels[0].connection_pool.connection_kwargs["credential_provider"]
    assert provider.get_credentials() == (f"{SECRET}2",)
    assert SECRET not in f"{client!r} {client.connection_pool!r} {manager!r} {manager.sentinels!r}"
    assert "must be a dict" in refusal(url, sentinel_kwargs="x")
    assert "does not accept" in refusal(url, sentinel_kwargs={"quack": 1})
    assert "no option 'sentinel_kwargs'" in refusal("redis://h", sentinel_kwargs={})


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("redis+cluster://h1:7001,h2", (("h1", 7001), ("h2", 6379))),
        (f"redis+cluster://user:{SECRET}@h1", (("h1", 6379),)),
        ("rediss+cluster://h1?ssl_ca_certs=/ca.pem", (("h1", 6379),)),
    ],
)
def test_a_cluster_url_leads_to_its_nodes_and_asks_nobody_yet(url, seeds):
    address = client_from_url(url, setting="redislock_url")

    assert address.seeds == seeds
    assert issubclass(address.connection_class, redis.SSLConnection) == url.startswith("rediss")
    assert not {"host", "port", "db"} & address.options.keys()
    assert SECRET not in repr(address)


def test_a_cluster_may_be_behind_other_addresses():
    def remap(address):
        return address

    address = client_from_url("redis+cluster://h", setting="url", options={"address_remap": remap})
    assert address.remap is remap
    assert "no option 'address_remap'" in refusal("redis://h", address_remap=remap)
