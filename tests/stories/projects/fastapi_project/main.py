from celery.result import AsyncResult
from fastapi import FastAPI
from jobs import build, celery

app = FastAPI()


@app.post("/reports/{name}", status_code=202)
def start(name: str) -> dict[str, str]:
    return {"id": build.delay(name).id}


@app.get("/reports/{report_id}")
def look(report_id: str) -> dict[str, str | None]:
    found = AsyncResult(report_id, app=celery)
    return {"state": found.state, "value": found.result if found.successful() else None}
