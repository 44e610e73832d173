from celery.result import AsyncResult
from flask import Blueprint

from . import tasks

bp = Blueprint("stock", __name__)


@bp.post("/restock/<name>/<int:count>")
def restock(name: str, count: int) -> dict[str, object]:
    return {"result_id": tasks.restock.delay(name, count=count).id}


@bp.get("/result/<result_id>")
def result(result_id: str) -> dict[str, object]:
    found = AsyncResult(result_id)
    return {"state": found.state, "value": str(found.result) if found.ready() else None}
