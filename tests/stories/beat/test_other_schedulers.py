"""Other schedulers: those of django_celery_beat and RedBeat go on under another beat like Celery's own."""

from __future__ import annotations

import pytest

from ...support.servers import Server
from .beats import BLOWS, Group
from .trial import on_trial

IN_DATABASE = "django_celery_beat.schedulers:DatabaseScheduler"
IN_REDIS = "redbeat:RedBeatScheduler"


def test_a_schedule_in_a_database_goes_on(own_server: Server, django_database: dict[str, str]) -> None:
    on_trial(Group(own_server, wrapped=IN_DATABASE, env=django_database), ["SIGKILL", "SIGSTOP", "SIGTERM"])


def test_a_schedule_of_redbeat_goes_on(own_server: Server) -> None:
    on_trial(Group(own_server, wrapped=IN_REDIS), ["SIGKILL", "SIGSTOP", "SIGTERM"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("blow", BLOWS)
def test_twenty_blows_to_a_schedule_in_a_database(
    own_server: Server, django_database: dict[str, str], blow: str
) -> None:
    on_trial(Group(own_server, wrapped=IN_DATABASE, env=django_database), [blow] * 20)
