"""The application, as it runs in production: nobody answers there where it is tested."""

from celery import Celery

app = Celery("shop", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0", include=["shop.tasks"])
