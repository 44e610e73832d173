"""What the names of locks promise: one for calls that are the same, another for all others."""

from __future__ import annotations

import enum
import inspect
import json
import math
import pickle
import traceback
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import product
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kombu import serialization
from kombu.exceptions import DecodeError, EncodeError

from celery_redislock.errors import ConfigurationError, LockKeyError
from celery_redislock.naming.calls import Naming
from celery_redislock.naming.parameters import Declared

SENTINEL = "s3cr3t-value-of-an-argument"
TASK = "proj.tasks.work"


class Color(enum.Enum):
    RED = "red"
    ONE = 1
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Status(str, enum.Enum):
    OPEN = "open"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@dataclass
class Order:
    id: Any = 7
    _private: Any = 8


class Described:
    def __init__(self, facts: Any) -> None:
        self.facts = facts

    def __json__(self) -> Any:
        return self.facts


class Proxy:
    """Pretends to be a str, as lazy objects and mocks do."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str


Point = namedtuple("Point", "x y")


def work(value: Any) -> None: ...


def naming(function: Any = work, *, lock_args: Any = None, lock_key: Any = None) -> Naming:
    declared = Declared.of(inspect.signature(function))
    return Naming.declare(TASK, declared, lock_args=lock_args, lock_key=lock_key)


def name_of(value: Any) -> str:
    return naming().name((value,), {})


def rendered(template: Any, **kwargs: Any) -> str:
    def function(id: Any = None, order: Any = None, row: Any = None) -> None: ...  # noqa: A002

    return naming(function, lock_key=template).name((), kwargs)


def loop() -> list[Any]:
    endless: list[Any] = [SENTINEL]
    endless.append({"again": endless})
    return endless


def nest(levels: int) -> Any:
    value: Any = SENTINEL
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


# Which arguments count


def test_a_call_by_position_by_keyword_and_with_a_default_spelled_out_is_one_call() -> None:
    def function(a: int, b: int = 2, *, c: int = 3) -> None: ...

    by = naming(function).name
    names = {by((1,), {}), by((), {"a": 1}), by((1, 2), {"c": 3}), by((), {"c": 3, "b": 2, "a": 1})}
    assert len(names) == 1
    assert by((2,), {}) not in names


def test_what_a_body_does_to_a_default_changes_no_name() -> None:
    def function(a: int, seen: list[int] = [], *, facts: dict[str, int] = {}) -> None:  # noqa: B006
        seen.append(a)
        facts[str(a)] = a

    every = naming(function)
    before = {every.name((1,), {}), every.name((1, []), {}), every.name((1,), {"facts": {}})}
    function(1)
    after = {every.name((1,), {}), every.name((1, []), {"facts": {}})}
    assert len(before | after) == 1
    assert every.name((1, [1]), {}) not in before, "what is given counts, also if the default is that now"


def test_a_template_reads_a_default_as_it_was_declared() -> None:
    def function(a: int, row: dict[str, int] = {"id": 7}) -> None:  # noqa: B006
        row["id"] = a

    by = naming(function, lock_key="{row[id]}").name
    function(1)
    assert by((1,), {}) == "7"
    assert by((1, {"id": 8}), {}) == "8"


@pytest.mark.parametrize(
    "default",
    [object(), SimpleNamespace(a=1), float("nan"), loop(), lambda: 1, type, Proxy()],
    ids=lambda value: type(value).__name__,
)
def test_a_default_without_a_form_does_not_matter_while_it_is_not_given(default: Any) -> None:
    def older(a: int) -> None: ...

    def function(a: int, b: Any = default, *, c: Any = default) -> None: ...

    by = naming(function).name
    assert len({by((1,), {}), by((1, default), {"c": default}), naming(older).name((1,), {})}) == 1
    assert by((1, 2), {}) != by((1,), {})
    with pytest.raises(LockKeyError, match="argument 'b'"):
        by((1, object()), {})


def test_a_name_is_one_in_each_process_that_computes_a_default_when_it_starts() -> None:
    def process(pid: int, day: date) -> Naming:
        def function(a: int, worker: int = pid, *, since: date = day) -> None: ...

        return naming(function)

    one, other = process(4711, date(2026, 1, 1)), process(4712, date(2026, 1, 2))
    assert one.name((1,), {}) == other.name((1,), {})
    assert one.name((1,), {}) == one.name((1, 4711), {"since": date(2026, 1, 1)})
    assert one.name((1,), {}) != one.name((1, 4712), {})


def test_a_name_is_one_in_each_version_that_only_adds_arguments_with_defaults() -> None:
    def first(a: int, **more: int) -> None: ...

    def second(a: int, b: int = 2, *rest: int, d: int = 4, c: int = 3, **more: int) -> None: ...

    def third(a: int, b: int = 2, *rest: int, c: int = 3, d: int = 4, e: int = 5, **more: int) -> None: ...

    by = [naming(version).name for version in (first, second, third)]
    for args, kwargs in [((1,), {}), ((), {"a": 1}), ((1,), {"d": 7}), ((1,), {"c": 5, "e": 7, "x": 8})]:
        assert len({name(args, kwargs) for name in by}) == 1
    calls: list[Any] = [((1,), {}), ((1, 3), {}), ((1, 2, 3), {}), ((1,), {"c": 4}), ((1,), {"d": 3})]
    assert len({by[2](*call) for call in calls}) == len(calls)


def test_an_extra_keyword_with_the_name_of_a_parameter_is_another_argument() -> None:
    def function(a: int, /, *rest: int, **more: int) -> None: ...

    by = naming(function).name
    others: list[Any] = [((1,), {"a": 1}), ((1, 1), {}), ((1,), {"rest": 1}), ((1,), {"more": 1})]
    assert len({by((1,), {}), *(by(*call) for call in others)}) == 1 + len(others)
    assert naming(function, lock_key="k:{a}").name((5,), {"a": 1}) == "k:5"


def test_an_argument_of_lock_args_is_left_out_at_its_default() -> None:
    def function(a: int, b: int = 2) -> None: ...

    by = naming(function, lock_args=["b"]).name
    assert by((1,), {}) == by((5, 2), {}) == TASK
    assert by((1, 3), {}) != TASK


def test_a_call_is_bound_as_python_binds_it() -> None:
    def function(a: int, b: int = 2, /, c: int = 3, *, d: int, e: int = 5) -> dict[str, int]:
        return {"a": a, "b": b, "c": c, "d": d, "e": e}

    names: dict[str, Any] = {}
    for count, chosen in product(range(5), product([False, True], repeat=6)):
        args = tuple(range(10, 10 + count))
        kwargs = {word: 20 + place for place, word in enumerate("abcdex") if chosen[place]}
        try:
            got = str(function(*args, **kwargs))
        except TypeError:
            with pytest.raises(TypeError):
                naming(function).name(args, kwargs)
        else:
            assert names.setdefault(naming(function).name(args, kwargs), got) == got
    assert len(set(names.values())) == len(names) == 10


def test_only_the_arguments_listed_in_lock_args_count_in_whatever_order() -> None:
    def function(a: int, b: int, c: int) -> None: ...

    by = naming(function, lock_args=["a", "b"]).name
    assert by((1, 2, 3), {}) == by((1, 2, 4), {})
    assert by((1, 2, 3), {}) != by((2, 1, 3), {})
    assert by((1, 2, 3), {}) == naming(function, lock_args=("b", "a")).name((1, 2, 3), {})


@pytest.mark.parametrize("empty", [(), []])
def test_without_arguments_the_name_is_the_tasks_name_alone(empty: Any) -> None:
    assert naming(lock_args=empty).name((SENTINEL,), {}) == TASK
    assert naming(lambda: None).name((), {}) == TASK


def test_variable_arguments_count_and_can_be_named() -> None:
    def function(a: int, *rest: int, **options: int) -> None: ...

    every = naming(function).name
    assert len({every((1,), {}), every((1, 2), {}), every((1,), {"x": 2}), every((1, 2, 3), {})}) == 4
    rest = naming(function, lock_args=["rest"]).name
    assert rest((1, 2), {"x": 1}) == rest((9, 2), {})
    options = naming(function, lock_args=["options"]).name
    assert options((1,), {"x": 1, "y": 2}) == options((2, 3), {"y": 2, "x": 1})


def test_an_extra_keyword_can_be_named_and_is_left_out_when_a_call_lacks_it() -> None:
    def function(a: int, **options: int | None) -> None: ...

    by = naming(function, lock_args=["a", "x"]).name
    assert by((1,), {"x": 2, "y": 3}) == by((1,), {"x": 2, "y": 4})
    assert len({by((1,), {"x": 2}), by((1,), {"x": None}), by((1,), {})}) == 3
    assert naming(function, lock_key="k:{x}").name((1,), {"x": 2}) == "k:2"
    with pytest.raises(LockKeyError, match=r"field \{x\}"):
        naming(function, lock_key="k:{x}").name((1,), {})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((SENTINEL, SENTINEL), {}), ((SENTINEL,), {"value": SENTINEL}), ((1,), {"no": 1})],
)
@pytest.mark.parametrize(
    "options", [{}, {"lock_args": ()}, {"lock_key": "k"}, {"lock_key": lambda *a, **k: "k"}]
)
def test_a_call_that_does_not_fit_is_the_type_error_of_the_function(
    args: Any, kwargs: Any, options: Any
) -> None:
    with pytest.raises(TypeError, match=r"^proj.tasks.work\(\) ") as caught:
        naming(**options).name(args, kwargs)
    assert type(caught.value) is TypeError
    assert_silent(caught.value)


# Values that are the same, and values that are not


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        ({1: "x"}, {"1": "x"}),
        ({True: "x"}, {"true": "x"}),
        ({None: "x"}, {"null": "x"}),
        ({1.5: "x"}, {"1.5": "x"}),
        ({Level.LOW: "x"}, {"1": "x"}),
        ({Status.OPEN: "x"}, {"open": "x"}),
        ({Color.ONE: "x"}, {1: "x"}),
        ({date(2026, 1, 2): "x"}, {"2026-01-02": "x"}),
        (-0.0, 0.0),
        ([-0.0], (0.0,)),
        (Decimal("-0"), Decimal(0)),
        (Decimal("1.50"), Decimal("1.5")),
        (Color.RED, "red"),
        (Color.PAIR, [1, 2]),
        (Level.LOW, 1),
        (Status.OPEN, "open"),
        (Text("a"), "a"),
        ({3, 1, 2}, frozenset([2, 3, 1])),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),
        (time(3, 4), "03:04:00"),
        (
            datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))),
        ),
        (Described({"a": (1, 2)}), {"a": [1, 2]}),
        ([Described(1)], [1]),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_values_that_are_one_to_a_serializer_share_a_lock(one: Any, other: Any) -> None:
    assert name_of(one) == name_of(other)


@pytest.mark.parametrize(
    "family",
    [
        [1, "1", True, 1.0, b"1", Decimal(1), UUID(int=1), {1}, [1], {"1": 1}],
        [None, "null", "None", 0, 0.0, False, "", b"", [], {}, set(), Decimal(0)],
        [["a", "b"], ["ab"], ["a,b"], [["a"], "b"], ["a", ["b"]], "a,b", [["a", "b"]]],
        [{"a": [1]}, {"a": 1}, {"a": [[1]]}, ["a", 1], {"a": {"1": None}}, [{"a": 1}]],
        [{"a": 1, "b": 2}, {"a": {"b": 2}}, {"a": 2, "b": 1}, {"a": 1}, {"a,b": 1}],
        [{"a": "b"}, {'a":"b': ""}, '{"a":"b"}', ['a":"b'], {"a": '"b"'}],
        [b"\x00", "\x00", "00", 'bytes"00"', b"00", "b'00'", [0]],
        [{b"x": 1}, {"x": 1}, {'bytes"78"': 1}, {(1,): 1}, {"[1]": 1}, {"(1,)": 1}],
        [10**400, 10**400 + 1, -(10**400), float("inf"), float("-inf"), "Infinity"],
        [10**5000, 10**5000 + 1, {10**5000: 1}, {10**5000 + 1: 1}],
        [Decimal("1E+2000000"), Decimal("1E+2000001"), Decimal("Infinity"), Decimal("-1")],
        [UUID("1" * 32), Decimal("1" * 32), "1" * 32, b"1" * 32],
        [Decimal("0." + "1" * 60), Decimal("0." + "1" * 59), Decimal("0." + "1" * 59 + "2")],
        [date(2026, 1, 2), datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=timezone.utc)],
        ["é", "e\u0301", "\ud800", "\U0001f600"],
    ],
)
def test_values_that_differ_in_type_or_structure_never_share_a_lock(family: list[Any]) -> None:
    assert len({name_of(value) for value in family}) == len(family)


def test_pandas_timestamps_are_named_as_they_arrive() -> None:
    pandas = pytest.importorskip("pandas")
    stamp = pandas.Timestamp("2026-01-02T03:04:05.123456789")
    assert name_of(stamp) == name_of(datetime(2026, 1, 2, 3, 4, 5, 123456))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, -1.5])
    | st.sampled_from(["", "1", "a", "b", "true", "null", '"', ",", "[]"])
)
small = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("1ab"), inner),
    max_leaves=5,
)


def same(one: Any, other: Any) -> bool:
    """Equality that tells types apart, the long way."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(max_examples=500, deadline=None)
@given(small, small)
def test_two_values_share_a_lock_exactly_when_they_are_equal(one: Any, other: Any) -> None:
    assert (name_of(one) == name_of(other)) == same(one, other)


texts = st.text(max_size=10)
zones = st.none() | st.sampled_from([timezone.utc, ZoneInfo("Asia/Kolkata")])
years = {"min_value": datetime(1950, 1, 1), "max_value": datetime(2100, 1, 1)}
atoms: list[Any] = [
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=10),
    st.datetimes(**years, timezones=zones),
    st.dates(),
    st.times(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.sampled_from([Color.RED, Level.LOW, Status.OPEN]),
    st.sets(st.integers() | texts, max_size=3),
]
keys: Any = texts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)


def dicts(inner: Any) -> Any:
    """Dicts whose keys are still as many after JSON made them text."""
    pairs = st.tuples(keys, inner)
    return st.lists(pairs, max_size=4, unique_by=lambda pair: key_text(pair[0])).map(dict)


def key_text(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


anything = st.recursive(
    st.one_of(atoms),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | dicts(inner),
    max_leaves=6,
)


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
@settings(max_examples=150, deadline=None)
@given(value=anything)
def test_the_worker_finds_the_name_that_the_publisher_found(serializer: str, value: Any) -> None:
    if serializer in ("yaml", "msgpack"):
        pytest.importorskip(serializer)
    assert_same_name_after_transport(serializer, value)


@settings(max_examples=100, deadline=None)
@given(value=st.one_of(atoms), serializer=st.sampled_from(["json", "pickle"]))
def test_each_kind_of_value_is_named_the_same_after_transport(serializer: str, value: Any) -> None:
    assert_same_name_after_transport(serializer, value)


def assert_same_name_after_transport(serializer: str, value: Any) -> None:
    try:
        content_type, encoding, payload = serialization.dumps(value, serializer)
        arrived = serialization.loads(payload, content_type, encoding, force=True)
    except (EncodeError, DecodeError):
        assume(False)  # this serializer does not carry it
    assert name_of(arrived) == name_of(value)


@settings(max_examples=100, deadline=None)
@given(dicts(small), st.randoms())
def test_the_order_of_a_dict_does_not_matter(value: dict[Any, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert name_of(dict(items)) == name_of(value)


def test_the_names_of_a_release_are_those_of_the_next() -> None:
    value = {"a": [1, 1.5, None, True, "é"], "b": {date(2026, 1, 2), b"\xff", Decimal("1.5")}}
    assert name_of(value) == "proj.tasks.work:12b4508054fd4870a2d6ea6fca54bc5d"


# What has no canonical form


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Order(SENTINEL), "Order"),
        ([{"a": Order(SENTINEL)}], "Order"),
        ({Order: SENTINEL}, "type"),
        (lambda: SENTINEL, "function"),
        (object(), "object"),
        ((c for c in SENTINEL), "generator"),
        (timedelta(1), "timedelta"),
        ([Proxy()], "Proxy"),
        (float("nan"), "NaN"),
        ([Decimal("NaN")], "NaN"),
        (Decimal("sNaN"), "NaN"),
        ({float("nan"): SENTINEL}, "NaN"),
        (loop(), "contains itself"),
        (nest(101), "nested deeper"),
        (nest(50_000), "nested deeper"),
        ({1: SENTINEL, "1": SENTINEL}, "same text in JSON"),
        (Described(Order(SENTINEL)), "Order"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_cannot_be_canonical_is_refused_by_task_argument_and_type(value: Any, told: str) -> None:
    with pytest.raises(LockKeyError) as caught:
        name_of(value)
    message = str(caught.value)
    assert TASK in message
    assert "'value'" in message
    assert type(value).__qualname__ in message
    assert told in message
    assert_silent(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_one_hundred_levels_of_nesting_are_fine() -> None:
    assert name_of(nest(100)) == name_of(nest(100))


def test_a_value_that_appears_twice_does_not_contain_itself() -> None:
    shared = [1]
    assert name_of([shared, shared]) == name_of([[1], [1]])


def test_an_argument_that_does_not_count_may_be_anything() -> None:
    def function(a: int, b: Any) -> None: ...

    by = naming(function, lock_args=["a"]).name
    assert by((1, object()), {}) == by((1, object()), {})


def test_a_json_hook_that_fails_is_the_cause_of_the_refusal() -> None:
    class Broken:
        def __json__(self) -> Any:
            raise RuntimeError("broken")

    with pytest.raises(LockKeyError, match="RuntimeError") as caught:
        name_of(Broken())
    assert isinstance(caught.value.__cause__, RuntimeError)


# No value leaves


def assert_silent(error: BaseException) -> None:
    assert SENTINEL not in "".join(traceback.format_exception(error))


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="ascii"), min_size=8, max_size=60))
def test_no_argument_value_appears_in_a_name_or_hash(secret: str) -> None:
    for value in (secret, [secret], {secret: secret}, secret.encode(), {secret}):
        name = name_of(value)
        digest = naming().args_hash((value,), {})
        assert name.startswith(f"{TASK}:")
        assert secret not in name.removeprefix(f"{TASK}:")
        assert secret not in digest
        assert len(name) == len(f"{TASK}:") + 32


def test_the_args_hash_covers_all_arguments_whatever_names_the_lock() -> None:
    def function(a: int, b: int = 2) -> None: ...

    for options in ({"lock_args": ["a"]}, {"lock_args": ()}, {"lock_key": "k"}):
        by = naming(function, **options).args_hash
        assert by((1,), {}) == by((), {"b": 2, "a": 1})
        assert by((1,), {}) != by((1, 3), {})
        int(by((1,), {}), 16)


@pytest.mark.parametrize("args", [(object(),), (loop(),), (nest(5000),), (), (1, 2)])
def test_the_args_hash_of_what_cannot_be_hashed_is_empty(args: Any) -> None:
    assert naming().args_hash(args, {}) == ""


# lock_key as a template


@pytest.mark.parametrize(
    ("template", "arguments", "name"),
    [
        ("acct:{id}", {"id": 7}, "acct:7"),
        ("acct:{id}", {"id": "7"}, "acct:7"),
        ("{id}", {"id": Text("a")}, "a"),
        ("{id}", {"id": True}, "True"),
        ("{id}", {"id": 1.5}, "1.5"),
        ("{id}", {"id": -0.0}, "0.0"),
        ("{id}", {"id": Decimal("1.50")}, "1.50"),
        ("{id}", {"id": Decimal("-0.00")}, "0.00"),
        ("{id}", {"id": 10**5000}, "1" + "0" * 5000),
        ("{id}", {"id": UUID(int=1)}, "00000000-0000-0000-0000-000000000001"),
        ("{id}", {"id": date(2026, 1, 2)}, "2026-01-02"),
        ("{id}", {"id": datetime(2026, 1, 2, 3, 4)}, "2026-01-02T03:04:00"),
        ("{id}", {"id": Color.RED}, "red"),
        ("{id}", {"id": Level.LOW}, "1"),
        ("{id}", {"id": Status.OPEN}, "open"),
        ("{order.id}", {"order": Order()}, "7"),
        ("{order.id.real}", {"order": Order()}, "7"),
        ("{row[id]}", {"row": {"id": 7}}, "7"),
        ("{row[0]}-{row[1]}", {"row": ("a", "b")}, "a-b"),
        ("{row[0]}", {"row": {0: "a"}}, "a"),
        ("{row[0]}", {"row": {"0": "a"}}, "a"),
        ("{row[a b][id].x}", {"row": {"a b": {"id": SimpleNamespace(x=1)}}}, "1"),
        ("{{{id}}}", {"id": 7}, "{7}"),
        ("{id}:{id}", {"id": "{row}"}, "{row}:{row}"),
        ("nightly", {}, "nightly"),
    ],
)
def test_a_template_writes_plain_scalars(template: str, arguments: Any, name: str) -> None:
    assert rendered(template, **arguments) == name


@pytest.mark.parametrize(
    ("template", "arguments", "told"),
    [
        ("{id}", {"id": None}, "NoneType"),
        ("{id}", {"id": [SENTINEL]}, "list"),
        ("{id}", {"id": SENTINEL.encode()}, "bytes"),
        ("{id}", {"id": Order(SENTINEL)}, "Order"),
        ("{id}", {"id": math.nan}, "float"),
        ("{id}", {"id": math.inf}, "float"),
        ("{id}", {"id": Decimal("sNaN")}, "Decimal"),
        ("{id}", {"id": Decimal("Infinity")}, "Decimal"),
        ("{id}", {"id": Color.PAIR}, "Color"),
        ("{id}", {"id": Proxy()}, "TypeError"),
        ("{order.id}", {"order": {"id": SENTINEL}}, "AttributeError"),
        ("{order.id}", {"order": Order([SENTINEL])}, "list"),
        ("{order.count}", {"order": SENTINEL}, "method"),
        ("{row[id]}", {"row": {"other": SENTINEL}}, "KeyError"),
        ("{row[id]}", {"row": SENTINEL}, "TypeError"),
        ("{row[3]}", {"row": [SENTINEL]}, "IndexError"),
        ("{id}", {"id": ""}, "empty"),
        ("{id}", {"id": "\ud800"}, "Unicode"),
    ],
)
def test_a_template_refuses_all_else_by_task_field_and_type(template: str, arguments: Any, told: str) -> None:
    with pytest.raises(LockKeyError) as caught:
        rendered(template, **arguments)
    assert TASK in str(caught.value)
    assert told in str(caught.value)
    assert template in str(caught.value) or told in ("empty", "Unicode")
    assert_silent(caught.value)


def test_a_template_never_adds_to_the_dict_that_it_reads() -> None:
    row: defaultdict[str, int] = defaultdict(int)
    with pytest.raises(LockKeyError, match="KeyError"):
        rendered("{row[id]}", row=row)
    assert not row


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{}",
        "{0}",
        "{ id }",
        "{id!r}",
        "{id:d}",
        "{id:{order}}",
        "{id!}",
        "{id",
        "id}",
        "{id.}",
        "{id.0}",
        "{row[]}",
        "{row['id']}",
        "{row[id}",
        "{row[id]x}",
        "{_id}",
        "{order._private}",
        "{order.__class__}",
        "{order.id._x}",
        "{row[_id]}",
        "{row[0].__class__.__name__}",
    ],
)
def test_a_template_that_could_go_wrong_is_refused_when_declared(template: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{TASK}.*lock_key"):
        rendered(template)


# lock_key as a callable


def test_a_callable_gets_the_arguments_as_they_were_given() -> None:
    seen: list[Any] = []

    def key(*args: Any, **kwargs: Any) -> str:
        seen.append((args, kwargs))
        return "shared"

    def function(a: int, b: int, c: int = 3) -> None: ...

    assert naming(function, lock_key=key).name((1,), {"b": 2}) == "shared"
    assert seen == [((1,), {"b": 2})]


def test_a_name_is_a_plain_str_also_when_a_callable_gives_another_kind() -> None:
    name = naming(lock_key=lambda value: Text("a")).name((1,), {})
    assert name == "a"
    assert type(name) is str


@pytest.mark.parametrize(
    ("result", "told"),
    [(None, "NoneType"), (7, "int"), (SENTINEL.encode(), "bytes"), ("", "empty"), ("\ud800", "Uni")],
)
def test_a_callable_must_give_a_name(result: Any, told: str) -> None:
    with pytest.raises(LockKeyError, match=f"{TASK}.*{told}") as caught:
        naming(lock_key=lambda value: result).name((SENTINEL,), {})
    assert_silent(caught.value)


def test_the_error_of_a_callable_is_the_cause_and_its_text_is_not_repeated() -> None:
    def key(value: Any) -> str:
        raise RuntimeError(value)

    with pytest.raises(LockKeyError, match=f"{TASK}.*RuntimeError") as caught:
        naming(lock_key=key).name((SENTINEL,), {})
    assert SENTINEL not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


# Options that are wrong


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lock_args": ["valeu"]}, "no argument 'valeu'.*: value"),
        ({"lock_key": "k:{valeu}"}, "no argument 'valeu'.*: value"),
        ({"lock_args": "value"}, "list of argument names"),
        ({"lock_args": [1]}, "list of argument names"),
        ({"lock_args": {"value": 1}}, "list of argument names"),
        ({"lock_args": True}, "list of argument names"),
        ({"lock_key": 7}, "not a int"),
        ({"lock_key": b"k"}, "not a bytes"),
        ({"lock_args": ["value"], "lock_key": "k"}, "contradict each other"),
        ({"lock_args": (), "lock_key": "k"}, "contradict each other"),
    ],
)
def test_a_wrong_option_is_refused_when_declared(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"task '{TASK}': .*{told}"):
        naming(**options)
