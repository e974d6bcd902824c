"""The model zoo: one definition a model, its export and its test input."""

import os

# ONNX Runtime keeps a file for its telemetry in the temporary folder: it is off, here and in what is started from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
