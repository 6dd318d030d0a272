"""What goes on in the queue, in the text format of Prometheus.

By hand, since it is a few lines: prometheus_client counts in global variables, which two queues in one process share.
"""

from coscale.serve.queue import Numbers

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(numbers: Numbers) -> str:
    """Give the lines that Prometheus reads: no names, no addresses."""
    lines: list[str] = []

    def add(name: str, kind: str, about: str, *samples: tuple[str, float]) -> None:
        lines.extend((f"# HELP coscale_{name} {about}", f"# TYPE coscale_{name} {kind}"))
        lines.extend(f"coscale_{name}{labels} {value:.15g}" for labels, value in samples)

    def labelled(label: str, counts: dict[str, int]) -> list[tuple[str, float]]:
        return [(f'{{{label}="{value}"}}', count) for value, count in counts.items()]

    add("jobs", "gauge", "Photos that are there, by state.", *labelled("state", numbers.jobs))
    add("visitors", "gauge", "Visitors whose photos come, wait or are worked on.", ("", numbers.visitors))
    add("kept_bytes", "gauge", "Bytes of the results that are kept.", ("", numbers.kept_bytes))
    add("jobs_ended_total", "counter", "Photos that have ended, by how.", *labelled("state", numbers.ended))
    add("refused_total", "counter", "Photos that found no place, by which limit.", *labelled("limit", numbers.refused))
    add("work_seconds_total", "counter", "Seconds of work on photos that have ended.", ("", numbers.seconds))
    return "\n".join(lines) + "\n"
