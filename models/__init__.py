"""The model zoo: one definition a model, its export and its test input."""
