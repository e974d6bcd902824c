"""One HTML file that loads nothing: a frame with its style, what a report puts into it, where its runs come from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from analysis import text
from analysis.runs import Run


def write(out: Path, template: str, **values: Any) -> Path:
    """Renders a template of this folder into a file, which appears whole; its folder is created.

    Args:
        out: The HTML file.
        template: Name of the template.
        values: What it shows.

    Returns:
        `out`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = text.number
    html = environment.get_template(template).render(**values)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(out)
    return out


def provenance(run: Run) -> dict[str, Any]:
    """What the page says of a run's origin: when, with which seed, versions and host, and its whole scenario."""
    meta = run.meta
    kept = {key: meta.get(key) for key in ("started", "seed", "reason", "append_clock", "calibration")}
    kept |= {key: meta.get(key) for key in ("versions", "fingerprint", "timing")}
    lines = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in kept.items() if v}
    scenario = json.dumps(meta.get("scenario") or {}, indent=1, ensure_ascii=False)
    return {"id": meta["id"] or run.path.name, "lines": lines, "scenario": scenario}
