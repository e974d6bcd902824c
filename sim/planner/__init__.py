"""The cheapest configuration of a pipeline that meets its objective, and the tuner that keeps it met."""
