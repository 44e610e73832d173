"""Settings and options: who wins, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from celery import Celery, Task

from celery_redislock.config.options import OPTIONS, LockOptions
from celery_redislock.config.resolution import declared_options, resolve
from celery_redislock.errors import ConfigurationError

DEFAULTS = LockOptions(
    args=None,
    key=None,
    ttl_ms=30_000,
    wait_ms=0,
    on_conflict="skip",
    retry_delay_ms=(1_000, 60_000),
    retry_for_ms=None,
    min_hold_ms=0,
    max_hold_ms=None,
    mode="on",
    on_lost="abort",
    on_error="retry",
    min_replicas=0,
    scope="run",
    queue_ttl_ms=3_600_000,
    keep="latest",
    replace_after_ms=30_000,
)


def policy(task, conflict): ...


def key_of(path): ...


def options(declared=None, per_call=None, **conf):
    settings = {f"redislock_{name}": value for name, value in conf.items()}
    return resolve(settings, "t", declared or {}, per_call)


def refusal(declared=None, per_call=None, **conf) -> str:
    with pytest.raises(ConfigurationError) as caught:
        options(declared, per_call, **conf)
    return str(caught.value)


def celery_app(conf: object = None, namespace: str | None = None) -> Celery:
    app = Celery("t", set_as_current=False)
    if conf is not None:
        app.config_from_object(conf, namespace=namespace)
    return app


# ---- values


def test_without_any_option_the_defaults_hold():
    assert options() == DEFAULTS


def test_the_table_and_the_fields_agree():
    fields = [field.name for field in dataclasses.fields(LockOptions)]
    assert [option.field for option in OPTIONS.values()] == fields


@pytest.mark.parametrize(
    ("name", "written", "field", "meant"),
    [
        ("args", ["path", "mode"], "args", ("path", "mode")),
        ("args", ("path",), "args", ("path",)),
        ("args", (), "args", ()),
        ("key", "import:{path}", "key", "import:{path}"),
        ("key", key_of, "key", key_of),
        ("ttl", 0.5, "ttl_ms", 500),
        ("ttl", timedelta(minutes=1), "ttl_ms", 60_000),
        ("wait", 0, "wait_ms", 0),
        ("wait", 2, "wait_ms", 2_000),
        ("on_conflict", "retry", "on_conflict", "retry"),
        ("on_conflict", "fail", "on_conflict", "fail"),
        ("on_conflict", policy, "on_conflict", policy),
        ("retry_delay", [0.5, timedelta(seconds=2)], "retry_delay_ms", (500, 2_000)),
        ("retry_delay", (1, 1), "retry_delay_ms", (1_000, 1_000)),
        ("retry_for", 10, "retry_for_ms", 10_000),
        ("min_hold", 0, "min_hold_ms", 0),
        ("min_hold", 90, "min_hold_ms", 90_000),
        ("max_hold", 60, "max_hold_ms", 60_000),
        ("max_hold", 5, "max_hold_ms", 5_000),
        ("mode", "shadow", "mode", "shadow"),
        ("mode", "off", "mode", "off"),
        ("scope", "queue", "scope", "queue"),
        ("scope", "task", "scope", "task"),
        ("queue_ttl", 90, "queue_ttl_ms", 90_000),
    ],
)
def test_every_option_means_the_same_in_all_three_places(name, written, field, meant):
    expected = dataclasses.replace(DEFAULTS, **{field: meant})

    assert options({name: written}) == expected
    assert options(None, {name: written}) == expected
    assert options(**{name: written}) == expected


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("args", "path", 'must be a list of argument names such as ["path"]'),
        ("args", [1], "must be a list of argument names"),
        ("args", ["a b"], "must be a list of argument names"),
        ("args", {"path"}, "must be a list of argument names"),
        ("args", ["path", "path"], "names an argument twice"),
        ("key", "", 'must be a name or template such as "import:{path}"'),
        ("key", 5, "or a callable with the task's arguments"),
        ("ttl", "30", "must be a number of seconds or a timedelta, not a str"),
        ("ttl", 0, "at least"),
        ("ttl", -1, "at least"),
        ("ttl", float("nan"), "thousand years"),
        ("ttl", float("inf"), "thousand years"),
        ("ttl", True, "must be a number of seconds or a timedelta, not bool"),
        ("wait", -1, "at least 0 s"),
        ("wait", "0", "must be a number of seconds"),
        (
            "on_conflict",
            "skpi",
            '"fail", "coalesce", "replace" or a callable (task, conflict), not \'skpi\'',
        ),
        ("on_conflict", True, "not bool"),
        ("retry_delay", 5, "must be a pair of durations (first, largest), for example (1, 60)"),
        ("retry_delay", (1, 2, 3), "must be a pair"),
        ("retry_delay", "12", "must be a pair"),
        ("retry_delay", (2, 1), "the first delay must not exceed the largest"),
        ("retry_delay", (0, 1), "the first delay in"),
        ("retry_delay", (1, "60"), "the largest delay in"),
        ("retry_for", 0, "at least"),
        ("min_hold", -1, "at least 0 s"),
        ("max_hold", 0, "at least"),
        ("mode", "dark", 'must be "on", "shadow", "off", not \'dark\''),
        ("mode", True, 'must be "on", "shadow", "off", not bool'),
        ("scope", "all", 'must be "run", "queue", "task", not \'all\''),
        ("queue_ttl", 0, "at least"),
    ],
)
def test_a_wrong_value_is_refused_in_its_users_words(name, written, told):
    messages = {
        f"lock_{name} of task 't'": refusal({name: written}),
        f"lock={{\"{name}\": ...}} of a call of task 't'": refusal(None, {name: written}),
        f"redislock_{name} setting": refusal(**{name: written}),
    }

    for label, message in messages.items():
        assert label in message
        assert told in message


@pytest.mark.parametrize("name", ["ttl", "wait", "on_conflict", "retry_delay", "min_hold", "mode"])
def test_none_is_refused_by_a_task_where_it_has_no_meaning(name):
    assert f"lock_{name} of task 't'" in refusal({name: None})


def test_a_setting_of_none_is_not_set():
    assert options(**dict.fromkeys(OPTIONS)) == DEFAULTS


# ---- who wins


def test_a_call_beats_the_task_which_beats_the_settings():
    assert options({"ttl": 2}, {"ttl": 1}, ttl=3).ttl_ms == 1_000
    assert options({"ttl": 2}, {}, ttl=3).ttl_ms == 2_000
    assert options({}, None, ttl=3).ttl_ms == 3_000


def test_an_explicit_none_of_a_task_beats_the_settings():
    assert options({"retry_for": None, "max_hold": None}, retry_for=5, max_hold=5) == DEFAULTS


@pytest.mark.parametrize(
    ("weaker", "stronger", "meant"),
    [
        ({"args": ["a"]}, {"key": "k"}, (None, "k")),
        ({"key": "k"}, {"args": ["a"]}, (("a",), None)),
        ({"key": "k"}, {"args": None}, (None, None)),
        ({"args": ["a"]}, {"key": None}, (None, None)),
        ({"key": "k"}, {"args": ()}, ((), None)),
    ],
)
def test_a_key_or_args_replaces_both_of_the_weaker_place(weaker, stronger, meant):
    for resolved in (
        options(weaker, stronger),
        options(stronger, **weaker),
        options(None, stronger, **weaker),
    ):
        assert (resolved.args, resolved.key) == meant


def test_a_wrong_value_that_is_overridden_does_not_matter_to_this_task():
    assert options({"ttl": 1}, ttl="30").ttl_ms == 1_000


# ---- contradictions


@pytest.mark.parametrize("place", ["call", "task", "settings"])
def test_key_and_args_in_one_place_contradict_each_other(place):
    both = {"key": "k", "args": ["a"]}
    message = {
        "call": lambda: refusal(None, both),
        "task": lambda: refusal(both),
        "settings": lambda: refusal(**both),
    }[place]()

    assert "contradict each other" in message


def test_args_of_none_beside_a_key_are_no_contradiction():
    assert options({"key": "k", "args": None}).key == "k"


def test_keep_beside_a_policy_that_never_coalesces_is_refused_on_one_task_or_call():
    both = {"keep": "first", "on_conflict": "skip"}

    assert "lock_keep of task 't' has no effect, because lock_on_conflict" in refusal(both)
    assert options({"keep": "first", "on_conflict": "coalesce"}).keep == "first"
    assert options({"keep": "first", "on_conflict": print}).keep == "first"
    assert options({"keep": "first"}, {"on_conflict": "retry"}).on_conflict == "retry"


def test_retry_for_beside_a_policy_that_never_retries_is_refused_on_one_task_or_call():
    both = {"retry_for": 5, "on_conflict": "skip"}

    assert "lock_retry_for of task 't' has no effect, because lock_on_conflict" in refusal(both)
    assert 'lock={"retry_for": ...}' in refusal(None, both)


@pytest.mark.parametrize("chosen", ["retry", policy])
def test_retry_for_beside_a_policy_that_may_retry_is_fine(chosen):
    assert options({"retry_for": 5, "on_conflict": chosen}).retry_for_ms == 5_000


def test_retry_for_may_stand_by_for_another_place_to_choose_retry():
    assert options({"retry_for": 5}, {"on_conflict": "retry"}).retry_for_ms == 5_000
    assert options({"retry_for": 5, "on_conflict": "retry"}, {"on_conflict": "fail"}).on_conflict == "fail"
    assert options({"on_conflict": "fail"}, retry_for=5).on_conflict == "fail"


def test_min_hold_above_max_hold_is_refused_wherever_they_come_from():
    message = refusal({"min_hold": 10}, max_hold=5)
    assert "lock_min_hold of task 't' must not exceed redislock_max_hold setting" in message


# ---- unknown options


def test_an_unknown_option_of_a_call_is_refused_with_the_nearest_and_the_valid_ones():
    message = refusal(None, {"tll": 5})

    assert "lock={\"tll\": ...} of a call of task 't' is not a lock option; did you mean 'ttl'?" in message
    assert "valid: args, key, ttl, wait," in message


def test_a_call_may_not_write_the_words_of_a_task():
    assert "did you mean 'ttl'?" in refusal(None, {"lock_ttl": 5})


@pytest.mark.parametrize("wrong", [True, "import", 5, ["ttl"]])
def test_the_lock_of_a_call_must_be_a_dict(wrong):
    assert "must be a dict of options" in refusal(None, wrong)


def test_options_that_do_not_exist_are_not_accepted_in_silence():
    assert "is not a lock option" in refusal({"until": "abort"})
    assert "is not a lock option" in refusal(None, {"until": "abort"})


# ---- what a task declares


class Base(Task):
    """Stands in for the task class: its public methods look like options and are none."""

    lock_ttl = 30

    def lock_name(self): ...
    def lock_for(self): ...


def task_class(base=Base, **attributes):
    return type("import_csv", (base,), {"name": "proj.import_csv", **attributes})


def test_the_attributes_of_a_task_and_its_bases_are_its_options():
    mixin = type("Mixin", (), {"lock_wait": 5, "lock_ttl": 60})
    task = type("t", (mixin, Base), {"lock_mode": "off", "lockless": 1, "_lock_x": 2})

    assert declared_options(task) == {"ttl": 60, "wait": 5, "mode": "off"}
    assert declared_options(task()) == declared_options(task)


def test_an_attribute_of_the_instance_counts_too():
    task = task_class(lock_ttl=5)()
    task.lock_ttl = 6

    assert declared_options(task) == {"ttl": 6}


def test_an_attribute_of_none_is_declared():
    task = task_class(task_class(lock_retry_for=5, lock_on_conflict="retry"), lock_retry_for=None)
    assert declared_options(task)["retry_for"] is None


def test_a_callable_stays_what_it_was():
    declared = declared_options(task_class(lock_key=key_of, lock_on_conflict=staticmethod(policy)))

    assert declared["key"] is key_of
    assert callable(resolve({}, "t", declared).on_conflict)


def test_a_subclass_with_args_replaces_the_key_of_its_base():
    task = task_class(task_class(lock_key="k"), lock_args=["path"])
    assert declared_options(task) == {"ttl": 30, "args": ["path"]}


def test_an_option_given_to_a_real_task_is_found_through_its_proxy():
    app = celery_app()

    @app.task(base=Base, lock_ttl=7, lock_args=["path"])
    def import_csv(path): ...

    assert declared_options(import_csv) == {"ttl": 7, "args": ["path"]}


def test_options_from_task_annotations_are_found():
    app = celery_app({"task_annotations": {"*": {"lock_wait": 9}}})

    @app.task(base=Base, name="annotated")
    def annotated(): ...

    assert declared_options(app.tasks["annotated"])["wait"] == 9


def test_an_unknown_lock_attribute_is_refused_with_the_nearest_and_the_valid_ones():
    with pytest.raises(ConfigurationError) as caught:
        declared_options(task_class(lock_on_conflct="retry"))

    message = str(caught.value)
    assert "lock_on_conflct of task 'proj.import_csv' is not a lock option" in message
    assert "did you mean 'lock_on_conflict'?" in message
    assert "valid: lock_args, lock_key," in message


@pytest.mark.parametrize("name", ["lock_name", "lock_for"])
def test_a_value_in_place_of_a_method_is_refused_with_the_option_that_is_meant(name):
    with pytest.raises(ConfigurationError, match="did you mean 'lock_key'"):
        declared_options(task_class(**{name: "import"}))
