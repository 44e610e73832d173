import os

SECRET_KEY = "of a test"
INSTALLED_APPS = ["django_celery_beat", "django_celery_results", "orders"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SHOP_DATABASE"],
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = os.environ["SHOP_REDIS"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_REDISLOCK_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_REDISLOCK_BEAT_TTL = 3
