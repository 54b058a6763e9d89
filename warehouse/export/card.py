"""The card of a dataset: what is inside, what was left out, where it comes from, what every column means, every hash.

Its YAML header is what `datasets` and the hub read: configurations, splits, features, tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from warehouse.export.columns import Configuration
from warehouse.export.folder import Written
from warehouse.export.provenance import UNKNOWN_LICENCE, Provenance, licence_of

JSON_SINCE = "4.7"
"""The first version of `datasets` that has the type."""
TAGS = ["rl-environment", "tool-use"]
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Description:
    """What the card says beside what can be counted."""

    title: str
    about: str
    tags: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason → number of records that were not exported."""
    notes: tuple[str, ...] = ()
    """What a reader must know before use."""
    code_version: str = ""
    """Of the code that wrote the dataset."""
    licence: str = "unknown"
    """Of the dataset, as the hub names licences."""
    model_licences: Mapping[str, str] = field(default_factory=dict)
    """Model name → licence, for models that are not packaged."""
    line_files: Mapping[str, str] = field(default_factory=dict)
    """File beside the Parquet ones → its sha256."""


def render_card(
    description: Description,
    configurations: Sequence[Configuration],
    written: Mapping[tuple[str, str], Written],
    origin: Provenance,
) -> str:
    """The text of README.md. The first configuration is the default."""
    present = [one for one in configurations if any(name == one.name for name, _ in written)]
    header = yaml.safe_dump(_header(description, present, written), sort_keys=False, allow_unicode=True)
    parts = [
        f"# {description.title}",
        description.about,
        *(f"> **Note.** {note}" for note in description.notes),
        _how_to_load(present, written),
        "## What is inside",
        "\n".join(f"- `{one.name}`: {one.about}" for one in present),
        _table([_counts(name, split, of) for (name, split), of in written.items()]),
        "## What was left out of this export",
        _table([{"reason": reason, "records": n} for reason, n in description.left_out.items()])
        or "Nothing that belongs here.",
        "## From proposals to tasks",
        _table(origin.funnel) or "The batches of these tasks' synthesis are not in the warehouse.",
        *_rejections(origin),
        "## How well the tasks are proven",
        *_proof(origin),
        "## Who made what",
        *_makers(description, origin),
        "## Batches",
        "What was read, and what that was made from. The data version is the hash of a batch's content.",
        _table(origin.batches),
        "## Columns",
    ]
    for one in present:
        parts += [f"### Configuration `{one.name}`", columns_table(one)]
    files = [{"file": path, "sha256": sha} for of in written.values() for path, sha in of.files.items()]
    files += [{"file": path, "sha256": sha} for path, sha in description.line_files.items()]
    parts += ["## Files", "`sha256sum -c SHA256SUMS` checks them all.", _table(files)]
    return f"---\n{header}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def columns_table(configuration: Configuration) -> str:
    """Every column and field of a configuration, with its type and what it is."""
    documented = [row for column in configuration.columns for row in column.documented()]
    return _table([{"column": f"`{name}`", "type": kind, "what it is": about} for name, kind, about in documented])


def _header(
    description: Description, configurations: Sequence[Configuration], written: Mapping[tuple[str, str], Written]
) -> dict[str, Any]:
    rows = sum(of.rows for of in written.values())
    configs: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    for one in configurations:
        splits = {split: of for (name, split), of in written.items() if name == one.name}
        files = [{"split": split, "path": f"{one.name}/{split}-*.parquet"} for split in splits]
        configs.append({"config_name": one.name, **({} if configs else {"default": True}), "data_files": files})
        counted = [
            {"name": split, "num_bytes": of.arrow_bytes, "num_examples": of.rows} for split, of in splits.items()
        ]
        infos.append({"config_name": one.name, "features": one.features, "splits": counted})
    return {
        "pretty_name": description.title,
        "license": description.licence,
        "language": ["en"],
        "tags": [*TAGS, *description.tags],
        "size_categories": [next((name for most, name in _SIZES if rows < most), "n>1M")],
        "configs": configs,
        "dataset_info": infos,
    }


def _how_to_load(configurations: Sequence[Configuration], written: Mapping[tuple[str, str], Written]) -> str:
    first = configurations[0].name
    split = next(split for name, split in written if name == first)
    lines = [
        "```python",
        "from datasets import load_dataset",
        f'rows = load_dataset(folder, "{first}", split="{split}")  # streaming=True reads as it goes',
        "```",
        f"It takes `datasets` {JSON_SINCE} or newer: columns of type `json` come back as objects. Other readers of "
        "Parquet see them as text.",
    ]
    return "\n".join(lines)


def _counts(configuration: str, split: str, written: Written) -> dict[str, Any]:
    return {
        "configuration": configuration,
        "split": split,
        "rows": written.rows,
        "files": len(written.files),
        "MiB": f"{written.size_bytes / 2**20:.2f}",
    }


def _rejections(origin: Provenance) -> list[str]:
    if not origin.reasons:
        return []
    return ["What was proposed and not accepted, and why:", _table(origin.reasons)]


def _proof(origin: Provenance) -> list[str]:
    if not origin.checks:
        return ["No proof of these tasks is in the warehouse: they may be unsolvable, or solved by doing nothing."]
    checks = [
        {
            "check": row["name"],
            "passed": row["passed"],
            "failed": row["failed"],
            "not applicable": row["not_applicable"],
            "share that failed": _share(row["failed"], row["failed"] + row["passed"], row["low"], row["high"]),
        }
        for row in origin.checks
    ]
    rates = [
        {
            "domain": row["domain"],
            "environment": row["environment_id"],
            "fault": row["fault"].replace("_", " "),
            "wrong": row["wrong"],
            "trials": row["trials"],
            "rate": _share(row["wrong"], row["trials"], row["low"], row["high"]),
        }
        for row in origin.rates
    ]
    return [
        "Every candidate was put to these checks; one that failed a check is not among the proven tasks. Intervals are "
        "Wilson's, at 95 %.",
        _table(checks),
        "How often the verifiers of accepted tasks were wrong: attempts made wrong on purpose and accepted (false "
        "positive), right ones refused (false negative).",
        _table(rates) or "Not audited.",
    ]


def _share(part: int, whole: int, low: float, high: float) -> str:
    if not whole:
        return "not tried"
    return f"{100 * part / whole:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def _makers(description: Description, origin: Provenance) -> list[str]:
    told = description.model_licences
    made_by = sorted({batch["code_version"] for batch in origin.batches})
    artefacts = [
        {
            "artefact": "golden programs, goals, proofs, verdicts, database rows and results of tools",
            "made by": "EnvLoom, by executing tools; no model",
            "licence": "that of this dataset",
        }
    ]
    for model in dict.fromkeys(row["model"] for row in origin.writers):
        what = "domain designs and the words of requests"
        artefacts.append({"artefact": what, "made by": f"`{model}`", "licence": licence_of(model, told)})
    for model in dict.fromkeys(row["base_model"] for row in origin.policies if row["base_model"]):
        what = "what assistants say and call in rollouts, by this model and its adapters"
        artefacts.append({"artefact": what, "made by": f"`{model}`", "licence": licence_of(model, told)})
    prompts = [_renamed(row, template_sha256="prompt sha256") for row in origin.writers]
    policies = [_renamed(row, id="policy") for row in origin.policies]
    unknown = ", ".join(model for model in origin.models if licence_of(model, told) == UNKNOWN_LICENCE)
    versions = ", ".join(f"`{version}`" for version in made_by)
    return [
        _table(artefacts),
        f"The licence of {unknown} is not known here: read it before you publish or train." if unknown else "",
        f"Code (git commits) that made the data: {versions}; that wrote this folder: `{description.code_version}`.",
        "Models, the prompts they answered, and calls:" if prompts else "",
        _table(prompts),
        "Policies:" if policies else "",
        _table(policies),
    ]


def _renamed(row: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in row.items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A markdown table; nothing for no rows."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
