"""The tests need no broker, no result backend and no Redis."""

import pytest
from shop import tasks
from shop.app import app

app.conf.update(broker_url="memory://", result_backend="cache+memory://")
app.conf.broker_transport_options = {"polling_interval": 0.05}


@pytest.fixture(autouse=True)
def _eager(request):
    app.conf.task_always_eager = "worker" not in request.fixturenames
    tasks.done.clear()
