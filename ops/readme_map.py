"""The map as a table for the README: `python -m ops.readme_map` writes it between the markers.

Enters: `engine/topology.py`. Leaves: Markdown. A test holds the README against it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.topology import DAY_MS, HANDLERS, TABLES, TOPICS, Topic

BEGIN: Final = "<!-- map:begin -->"
END: Final = "<!-- map:end -->"
README: Final = Path(__file__).parent.parent / "README.md"


def kept(topic: Topic) -> str:
    """How long a topic's records stay, in words."""
    if topic.settings()["cleanup.policy"] == "compact":
        return "compacted"
    return "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // DAY_MS} d"


def topic_row(topic: Topic) -> str:
    """One line of the table."""
    partitions = str(topic.partitions) if topic.partitions else "P"
    cells = f"`{topic.name}`", topic.key, partitions, topic.written_by, topic.read_by, kept(topic)
    return "| " + " | ".join(cells) + " |"


def render() -> str:
    """Topics, handlers and tables."""
    lines = ["| topic | key | partitions | written by | read by | kept |", "|---|---|---|---|---|---|", *map(topic_row, TOPICS), ""]
    lines += ["| topic | handled in |", "|---|---|", *(f"| `{topic}` | `{place}` |" for topic, place in HANDLERS.items()), ""]
    lines += ["| table | holds |", "|---|---|", *(f"| `{table}` | {holds} |" for table, holds in TABLES.items())]
    return "\n".join(lines)


def with_map(readme: str) -> str:
    """The README's text with the map of now between its markers."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{render()}\n{END}{after}"


def main() -> None:
    """Write the map into the README."""
    README.write_text(with_map(README.read_text()))


if __name__ == "__main__":
    main()
