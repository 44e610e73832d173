import os
import time
from pathlib import Path

from celery import Celery

from celery_redislock import locked_task

celery = Celery("jobs", broker=os.environ["SHOP_REDIS"], backend=os.environ["SHOP_REDIS"])
celery.conf.broker_connection_retry_on_startup = True


@locked_task(app=celery, lock_args=["name"], lock_scope="task")
def build(name: str) -> str:
    with Path(os.environ["SHOP_SHELF"], name).open("a") as shelf:
        shelf.write("built\n")
    while not os.path.exists(os.environ["SHOP_GATE"]):
        time.sleep(0.05)
    return f"report {name}"
