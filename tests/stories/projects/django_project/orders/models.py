from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=50)
    shipped = models.IntegerField(default=0)


class Sweep(models.Model):
    due = models.CharField(max_length=50)
