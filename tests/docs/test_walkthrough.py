"""Walkthrough: a page that shows what does not happen fails its test."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.servers import Server
from .walkthrough import Walkthrough, commands_of, expected_in

PAGE = """
```python
# shop/greeting.py
print("hello", "localhost:6379")
```

```console
$ python shop/greeting.py
hello localhost:6379
```

```python
# shop/greeting.py, at the end
print("goodbye")
```

```console eventually
$ echo again >> typed; python shop/greeting.py; wc -l < typed
hello localhost:6379
goodbye
2
```

```console terminal=clock
$ python -u -c "import time; print('tick 1'); time.sleep(60)"
tick ...
```

```console kill=clock
```
"""


def walk(page: str, server: Server, folder: Path) -> None:
    path = folder / "page.md"
    path.write_text(page)
    home = folder / "home"
    home.mkdir()
    with Walkthrough(path, home, server).followed():
        pass


def test_a_page_is_followed(server: Server, tmp_path: Path) -> None:
    walk(PAGE, server, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("hello localhost", "farewell localhost"), ("python shop", "python shops"), ("print(", "prin(")],
)
def test_a_page_that_is_wrong_is_found(right: str, wrong: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        walk(PAGE.replace(right, wrong), server, tmp_path)


def test_a_command_may_go_over_lines() -> None:
    assert commands_of("$ a \\\n>   b\nc\n$ d\n") == [("a b", "c\n"), ("d", "")]


@pytest.mark.parametrize(
    ("expected", "output", "is_there"),
    [
        ("a\nc\n", "a\nb\nc\n", True),
        ("c\na\n", "a\nb\nc\n", False),
        ("left ... s\n", "x left 29.6 s y\n", True),
        ("left ... s\n", "left 29.6\ns\n", False),
        ("...\n", "", True),
    ],
)
def test_what_a_page_shows_must_be_there_in_its_order(expected: str, output: str, is_there: bool) -> None:
    assert expected_in(expected, output) is is_there
