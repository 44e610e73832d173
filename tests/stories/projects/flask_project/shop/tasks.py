import os
import time
from pathlib import Path

from flask import current_app

from celery_redislock import current_lock, locked_task


@locked_task(lock_args=["name"])
def restock(name: str, count: int = 1) -> str:
    current_lock().ensure_held()
    with Path(current_app.config["SHELF"], name).open("a") as shelf:
        shelf.write(f"{count}\n")
    while not os.path.exists(os.environ["SHOP_GATE"]):
        time.sleep(0.05)
    return current_app.name
