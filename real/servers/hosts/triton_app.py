"""The process that has Triton: PyTriton starts `tritonserver`, whose Python backend calls the scorers of this process.

python -m real.servers.hosts.triton_app CONFIG
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from real.child import Child, main

_LOOK_S = 0.5
_TRIAL_POINTS = 64


def _scoring(config: dict[str, Any]) -> Any:
    """One instance of the model."""
    from real.servers.hosts.loading import score_together, scorer_of

    scorer = scorer_of(config)

    def scoring(requests: Any) -> list[dict[str, Any]]:
        answers = score_together(scorer, [request["input"] for request in requests])
        return [{"output": answer} for answer in answers]

    return scoring


def _body(child: Child) -> None:
    import numpy as np

    from models.zoo import model
    from scenarios.spec import Model

    config = child.config
    os.environ["PYTRITON_HOME"] = f"{config['place']}/home"
    api: Any = import_module("pytriton.model_config")
    triton: Any = import_module("pytriton.triton")
    definition = model(Model(**config["model"]))
    settings = triton.TritonConfig(
        http_address="127.0.0.1",
        http_port=config["ports"]["oip-http"],
        grpc_address="127.0.0.1",
        grpc_port=config["ports"]["oip-grpc"],
        metrics_port=config["metrics_port"],
        allow_metrics=False,
        log_verbose=0,
    )
    place = Path(config["place"]) / "t"
    place.mkdir()
    free: tuple[int, ...] = ()
    if config["batch"] > 1:
        # What comes first in its shape is its batch; the answers are compared on 64 points at once.
        most = max(config["batch"] * config["points"], _TRIAL_POINTS)
        waits = api.DynamicBatcher(max_queue_delay_microseconds=config["wait_ns"] // 1000)
        how = api.ModelConfig(max_batch_size=most, batching=True, batcher=waits)
    else:  # with a batch of its own it would put requests together whatever it is told
        how, free = api.ModelConfig(batching=False), (-1,)
    with triton.Triton(config=settings, workspace=str(place / "w")) as server:
        server.bind(
            model_name=config["served_as"],
            infer_func=[_scoring(config) for _ in range(config["workers"])],
            inputs=[api.Tensor(name="input", dtype=np.float32, shape=(*free, *definition.input_shape))],
            outputs=[api.Tensor(name="output", dtype=np.float32, shape=(*free, -1))],
            config=how,
        )
        server.run()
        child.say("ready", ports=config["ports"], binary=["oip-http"])
        while not child.stopping.wait(_LOOK_S):
            if not server.is_alive():
                raise RuntimeError("tritonserver is gone")


if __name__ == "__main__":
    main(_body)
