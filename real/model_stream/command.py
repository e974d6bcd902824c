"""`python -m real publish`: models and records for a broker's topics, under the names Lightbend's model server uses."""

from __future__ import annotations

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from real.cli import reported

if TYPE_CHECKING:
    from real.model_stream.publish import Sent

app = typer.Typer(no_args_is_help=True, help="Publish models and records on a broker's topics.")

MODELS_TOPIC, RECORDS_TOPIC = "models_models", "models_data"


class By(StrEnum):
    """How a message carries its model."""

    VALUE = "value"
    REFERENCE = "reference"


Bootstrap = Annotated[
    str, typer.Option(help="host:port, or several with commas.", envvar="KAFKA_BROKERS_LIST", show_default=False)
]
ModelsTopic = Annotated[str, typer.Option("--topic", help="Of the models; made if it is not there.")]
Kind = Annotated[str, typer.Option("--type", help="Type of records that it scores.")]
Count = Annotated[int | None, typer.Option(min=1, help="Stop after so many; default never.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a message.")]
Directory = Annotated[Path, typer.Option(help="Of the files.", envvar="DATA_DIRECTORY")]


@app.command()
def model(
    source: Annotated[str, typer.Argument(help="A file, an address (file://, s3://) or a registered model.")],
    bootstrap: Bootstrap,
    topic: ModelsTopic = MODELS_TOPIC,
    kind: Kind = "wine",
    fmt: Annotated[
        str | None, typer.Option("--format", help="onnx, lightgbm, pmml, tensorflow, savedmodel; default by name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; default the file's.")] = None,
    description: Annotated[str, typer.Option(help="Of the model.")] = "",
    version: Annotated[int, typer.Option(min=0, help="Of the model.")] = 1,
    by: Annotated[By, typer.Option(help="Whether the message carries the model, or where it lies.")] = By.VALUE,
    as_json: AsJson = False,
) -> None:
    """Publish one model."""
    with reported(), tempfile.TemporaryDirectory(prefix="weir-publish-") as cache:
        from models.messages import encode_descriptor
        from real.model_stream.publish import Target, model_message

        message = model_message(
            source,
            kind=kind,
            fmt=fmt,
            name=name,
            description=description,
            version=version,
            by_reference=by is By.REFERENCE,
            cache=None if by is By.REFERENCE else Path(cache),  # what is exported here is gone with the command
        )
        _shown(Target(bootstrap, topic).send(encode_descriptor(message), kind), as_json=as_json)


@app.command()
def models(
    bootstrap: Bootstrap,
    directory: Directory = Path("data"),
    every: Annotated[str, typer.Option(help="Between two models.", envvar="MODEL_PUBLISH_INTERVAL")] = "5 minutes",
    first: Annotated[str, typer.Option(help="Before the first.")] = "30 seconds",
    topic: ModelsTopic = MODELS_TOPIC,
    kind: Kind = "wine",
    count: Count = None,
    as_json: AsJson = False,
) -> None:
    """Publish the models of a folder, one each interval, again and again."""
    with reported():
        from real.model_stream.publish import Target, cycled_models, interval_s, model_files, publish

        every_s, first_s = interval_s("--every", every), interval_s("--first", first)
        messages = cycled_models(model_files(directory), kind)
        publish(
            Target(bootstrap, topic),
            messages,
            key=kind,
            every_s=every_s,
            first_s=first_s,
            count=count,
            say=lambda sent: _shown(sent, as_json=as_json),
        )


@app.command()
def records(
    bootstrap: Bootstrap,
    directory: Directory = Path("data"),
    filename: Annotated[str, typer.Option(help="CSV file in it.", envvar="DATA_FILENAME")] = "winequality_red.csv",
    every: Annotated[str, typer.Option(help="Between two records.", envvar="DATA_PUBLISH_INTERVAL")] = "1 second",
    topic: Annotated[str, typer.Option(help="Of the records; made if it is not there.")] = RECORDS_TOPIC,
    kind: Annotated[str, typer.Option("--type", help="Type of the records.")] = "wine",
    count: Count = None,
    as_json: AsJson = False,
) -> None:
    """Publish the rows of a file, one each interval, again and again."""
    with reported():
        from real.model_stream.publish import Target, cycled_records, interval_s, publish, read_source

        every_s = interval_s("--every", every)
        rows = read_source(directory / filename)
        publish(
            Target(bootstrap, topic),
            cycled_records(rows, kind),
            every_s=every_s,
            count=count,
            say=lambda sent: _shown(sent, as_json=as_json),
        )


class Load(StrEnum):
    """Where models load."""

    INLINE = "inline"
    BACKGROUND = "background"


class Restore(StrEnum):
    """Where models come from at the start."""

    LATEST = "latest"
    EARLIEST = "earliest"
    SNAPSHOT = "snapshot"


def model_server_command(
    bootstrap: Bootstrap,
    records: Annotated[str, typer.Option(help="Topic of records; made if it is not there.")] = RECORDS_TOPIC,
    models: Annotated[str, typer.Option(help="Topic of models; made if it is not there.")] = MODELS_TOPIC,
    outputs: Annotated[str | None, typer.Option(help="Topic of scored records; default none.")] = None,
    group: Annotated[str, typer.Option(help="Of the servers that share the records.")] = "wineRecordsGroup",
    instance: Annotated[
        int | None, typer.Option(min=0, max=10_000, help="Its number among them, kept over restarts; default none.")
    ] = None,
    load: Annotated[Load, typer.Option(help="Models load on the data path, or beside it.")] = Load.INLINE,
    restore: Annotated[
        Restore, typer.Option(help="Models at the start: the next message, the whole topic, what was kept.")
    ] = Restore.LATEST,
    kept: Annotated[
        Path | None, typer.Option(help="File that the state is kept in at each swap and at the end.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to tell the state on; beyond loopback with a token only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0: any that is free.")] = 5500,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Metrics meanwhile: prometheus://HOST:PORT, influxdb://HOST:PORT/DATABASE, file:PATH."),
    ] = None,
    speculate: Annotated[
        str | None,
        typer.Option(
            help="Score by all models of types TYPE/NAME at once: first, vote, best=TYPE/NAME,... (by trust)."
        ),
    ] = None,
    timeout: Annotated[str, typer.Option(help="Of a decision with --speculate.")] = "100 ms",
) -> None:
    """Score a topic's records by the models of another, until it is interrupted."""
    with reported(), tempfile.TemporaryDirectory(prefix="weir-server-") as folder:
        import os

        from real.errors import RefusedError
        from real.model_stream.publish import interval_s
        from real.model_stream.server import Asked, ModelServer
        from real.model_stream.state_http import TOKEN_VARIABLE
        from real.sinks.influxdb import from_environment
        from real.speculative import parse_speculation
        from scenarios.cli import check_writable

        if restore is Restore.SNAPSHOT and kept is None:
            raise RefusedError("--restore", "snapshot; nothing is kept: give --kept FILE")
        if kept is not None:
            check_writable(kept)
        asked = Asked(
            *(bootstrap, records, models, outputs, group, instance, load.value, restore.value, kept, host, port),
            os.environ.get(TOKEN_VARIABLE) or None,
            tuple(metrics or from_environment()),
            None if speculate is None else parse_speculation(speculate),
            round(interval_s("--timeout", timeout) * 1e9),
        )
        ModelServer(asked, Path(folder)).serve(lambda: False, lambda line: print(line, flush=True))


def _shown(sent: Sent, *, as_json: bool) -> None:
    if as_json:
        about = {"topic": sent.topic, "partition": sent.partition, "offset": sent.offset, "bytes": sent.size_bytes}
        print(json.dumps(about), flush=True)
    else:
        print(f"{sent.topic}, partition {sent.partition}, offset {sent.offset}: {sent.size_bytes:,} bytes", flush=True)
