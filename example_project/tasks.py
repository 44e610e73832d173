"""The table of contents: every task of the project, one use of the lock in each module."""

from __future__ import annotations

from .cache_refresh import cached_report
from .csv_import import import_flights
from .geocoding import find
from .money_transfer import transfer
from .monthly_import import count_rows, empty_table, import_month, start_monthly_import
from .ordered_queue import apply_orders
from .other_system import sell
from .resync import change, resync
from .settlement import settle
from .shared_resource import count_visit

__all__ = [
    "apply_orders",
    "cached_report",
    "change",
    "count_rows",
    "count_visit",
    "empty_table",
    "find",
    "import_flights",
    "import_month",
    "resync",
    "sell",
    "settle",
    "start_monthly_import",
    "transfer",
]
