"""Django's settings for a schedule in its database; the environment says in which."""

from __future__ import annotations

import os

import sqlalchemy

_url = sqlalchemy.make_url(os.environ["BEAT_DATABASE"])

SECRET_KEY = "of a test"
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.database,
        "USER": _url.username,
        "PASSWORD": _url.password or "",
        "HOST": _url.host,
        "PORT": _url.port or 5432,
    }
}
