"""Orders."""

from django.db import models


class Order(models.Model):
    """An order."""

    shipped = models.IntegerField(default=0)
