"""Grafana dashboards for the metrics of runs and model servers, made by `python -m real.dashboards.make`."""
