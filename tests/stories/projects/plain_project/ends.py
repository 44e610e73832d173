"""Prints how calls have ended: ``ends.py ID...``."""

import json
import sys

from shop import app

results = [app.AsyncResult(task_id) for task_id in sys.argv[1:]]
print(json.dumps([[result.state, result.result if result.successful() else None] for result in results]))
