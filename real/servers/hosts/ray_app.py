"""The process that has Ray Serve: starts Ray on this machine, deploys the model, and ends with the harness.

    python -m real.servers.hosts.ray_app CONFIG

Ray's own processes are in groups of their own; they carry the marks of this one's environment, by which they are ended.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from real.child import Child, main

_LOOK_S = 0.5


def _deployment(config: dict[str, Any]) -> Any:
    """The deployment, bound to the model."""
    serve: Any = import_module("ray.serve")
    response: Any = import_module("starlette.responses").Response
    batch, wait_s = config["batch"], config["wait_ns"] / 1e9

    class Scoring:
        """One replica."""

        def __init__(self) -> None:
            from models.zoo import model
            from real.servers.hosts.loading import scorer_of
            from scenarios.spec import Model

            self.scorer = scorer_of(config)
            self.values = model(Model(**config["model"])).values

        async def __call__(self, request: Any) -> Any:
            import numpy as np

            x = np.frombuffer(await request.body(), "<f4").reshape(-1, self.values)
            answer = self.scorer.score(x) if batch == 1 else await self.together(x)
            return response(answer.astype("<f4", copy=False).tobytes(), media_type="application/octet-stream")

        @serve.batch(max_batch_size=batch, batch_wait_timeout_s=wait_s)  # type: ignore[untyped-decorator]
        async def together(self, parts: list[Any]) -> list[Any]:
            from real.servers.hosts.loading import score_together

            return score_together(self.scorer, parts)

    options = {
        "name": "scoring",
        "num_replicas": config["workers"],
        "max_ongoing_requests": max(8, 4 * batch),
        "ray_actor_options": {"num_cpus": 1},
    }
    return serve.deployment(Scoring).options(**options).bind()


def _body(child: Child) -> None:
    ray: Any = import_module("ray")
    serve: Any = import_module("ray.serve")
    config = child.config
    ray.init(
        num_cpus=config["workers"] + 1,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _temp_dir=f"{config['place']}/r",  # short: there are sockets in it
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        http_options={"host": "127.0.0.1", "port": config["port"]},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    serve.run(_deployment(config), name=config["served_as"], route_prefix=f"/{config['served_as']}")
    child.say("ready", ports={"ray-http": config["port"]})
    while not child.stopping.wait(_LOOK_S):
        if not all(node["Alive"] for node in ray.nodes()):
            raise RuntimeError("a process of Ray is gone")
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(_body)
