"""Python imports this at its start where the folder is on PYTHONPATH."""

from tests.chaos.disk import follow_orders

follow_orders()
