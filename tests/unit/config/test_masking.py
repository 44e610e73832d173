"""Masking: what may hold a password of ours is masked where Celery shows settings."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.app import utils

from celery_redislock.config.masking import mask_our_settings


@pytest.mark.parametrize("name", ["redislock_url", "CELERY_REDISLOCK_URL"])
def test_the_url_is_masked(name: str) -> None:
    app = Celery("t", set_as_current=False)
    app.conf[name] = "redis://:s3cr3t@h"

    mask_our_settings()

    assert "s3cr3t" not in str(app.conf.table(with_defaults=False))


def test_masking_again_changes_nothing() -> None:
    mask_our_settings()
    once = utils.HIDDEN_SETTINGS

    mask_our_settings()

    assert utils.HIDDEN_SETTINGS is once
