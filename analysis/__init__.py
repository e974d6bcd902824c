"""The run format, metrics, statistics, tables, plots and the report."""
