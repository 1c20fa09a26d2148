"""The page and its plot, from what the sections measured.

In: the data of `workload_times` for every number of threads, the other sections' tables. Out:
Markdown with the reasons for every target missed, and a bar chart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasons import reason
from rounds import Quartiles, ratio
from tables import Table, milliseconds, times
from workload_table import BY_NAME

COLUMNS = ("torch", "torch.compile", "jax.jit")  # the others share a column
FASTER, NEAR_FLOOR = 1.0, 1.5  # the targets: than the fastest peer, and times the floor
CALL = 2e-6  # seconds, below which a floor says nothing

INTRODUCTION = Path(__file__).resolve().parent / "introduction.md"


def _peers(seconds: Mapping[str, Any]) -> list[str]:
    return [name for name in seconds if name != "tdsl"]


def fastest_peer(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """The peer with the smallest ratio to tdsl, and that ratio."""
    seconds = row["seconds"]
    found = [(ratio(seconds[name], seconds["tdsl"]), name) for name in _peers(seconds)]
    return (min(found)[1], min(found)[0]) if found else None


def floor(row: Mapping[str, Any]) -> float | None:
    """Seconds; None below a microsecond, where what counts is the call."""
    larger: float = max(row["memory floor"], row["compute floor"])
    return larger if larger > CALL else None


def _cell(row: Mapping[str, Any], name: str) -> str:
    seconds = row["seconds"]
    if name not in seconds:
        return "–"
    median = Quartiles.of(seconds[name]).median
    return f"{milliseconds(median)} ({times(ratio(seconds[name], seconds['tdsl']))})"


def _many(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _misses(row: Mapping[str, Any], peer: tuple[str, float] | None) -> bool:
    slower = peer is not None and peer[1] < FASTER
    least = floor(row)
    return slower or (least is not None and _median(row) > NEAR_FLOOR * least)


def _median(row: Mapping[str, Any]) -> float:
    """tdsl's seconds."""
    return Quartiles.of(row["seconds"]["tdsl"]).median


def main_table(data: Mapping[str, Any]) -> Table:
    """Times, ratios and floors of every workload."""
    rows, missed, logarithms = [], [], []
    for row in data["rows"]:
        title, peer, least = BY_NAME[row["name"]].title, fastest_peer(row), floor(row)
        others = [f"{n} {_cell(row, n)}" for n in _peers(row["seconds"]) if n not in COLUMNS]
        bound = "bytes" if row["memory floor"] >= row["compute floor"] else "operations"
        rows.append(
            [
                title,
                milliseconds(_median(row)),
                *(_cell(row, name) for name in COLUMNS),
                "; ".join(others) or "–",
                f"{times(peer[1])} ({peer[0]})" if peer else "–",
                f"{milliseconds(least)} ({bound})" if least else "–",
                times(_median(row) / least) if least else "–",
            ]
        )
        if peer:
            logarithms.append(math.log(peer[1]))
        if _misses(row, peer):
            missed.append(title)
    mean = math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan
    out = "".join(f" Left out: {reason}." for reason in data["left out"])
    return Table(
        f"Value and gradients, {_many(data['threads'])}",
        f"Milliseconds; in brackets how many times as long as tdsl. Against the fastest peer of "
        f"each row the geometric mean is {times(mean)}. Limits: {1e-9 * data['peak']:.0f} GFLOP/s, "
        f"{1e-9 * data['bandwidth']:.1f} GB/s (a copy of 128 MB, bytes read and written).{out}",
        ["", "tdsl", *COLUMNS, "others", "fastest peer", "floor", "tdsl / floor"],
        rows,
        missed,
    )


def spread_table(data: Mapping[str, Any]) -> Table:
    """Quartiles and first calls of every workload and system."""
    rows = []
    for row in data["rows"]:
        for name, seconds in row["seconds"].items():
            q = Quartiles.of(seconds)
            between = f"{milliseconds(q.low)}–{milliseconds(q.high)}"
            first = f"{row['first'][name]:.2f}"
            rows.append([BY_NAME[row["name"]].title, name, between, str(len(seconds)), first])
    return Table(
        f"Spread and first calls, {_many(data['threads'])}",
        "Milliseconds at the quartiles of the rounds, the number of rounds, and the seconds to the "
        "first result, building and compiling included. (tdsl compiles once for all numbers of "
        "threads: its later first calls come from the disk cache.)",
        ["", "system", "quartiles", "rounds", "first call, s"],
        rows,
    )


def _section(table: Table) -> str:
    text = f"## {table.title}\n\n{table.note}\n\n{table.markdown()}\n"
    if table.missed:
        rows: dict[str, list[str]] = {}
        for row in table.missed:
            rows.setdefault(reason(table.title, row), []).append(row)
        lines = [f"- **{'; '.join(of_one)}**: {why}" for why, of_one in rows.items()]
        text += "\nWhy a target is missed:\n\n" + "\n".join(lines) + "\n"
    return text


def page(machine: str, tables: Sequence[Table], plot: str | None) -> str:
    text = INTRODUCTION.read_text(encoding="utf-8").format(machine=machine)
    if plot is not None:
        text += f"\n![Speed relative to the fastest peer]({plot})\n"
    return text + "".join("\n" + _section(t) for t in tables)


def draw(data: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A bar per workload, number of threads and system: speed relative to the fastest peer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(
        1, len(data), figsize=(7 * len(data), 9), sharey=True, squeeze=False
    )
    for axes, of_threads in zip(all_axes[0], data, strict=True):
        _bars(axes, of_threads)
    handles: dict[str, Any] = {}
    for axes in all_axes[0]:
        found, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, found, strict=True))
    columns = 4 * len(data)
    figure.legend(
        handles.values(), handles.keys(), loc="lower center", ncols=columns, frameon=False
    )
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=90)


COLOURS = {
    "tdsl": "#c0392b",
    "torch": "#7f8c8d",
    "torch.compile": "#2c3e50",
    "jax.jit": "#2980b9",
    "numba by hand": "#8e44ad",
    "KeOps": "#27ae60",
    "CasADi": "#d68910",
    "SymForce": "#16a085",
}


def _bars(axes: Any, data: Mapping[str, Any]) -> None:
    rows = [r for r in data["rows"] if fastest_peer(r)]
    for at, row in enumerate(rows):
        seconds = row["seconds"]
        peer = fastest_peer(row)
        assert peer is not None
        height = 0.84 / len(seconds)
        for k, name in enumerate(seconds):
            speed = ratio(seconds[peer[0]], seconds[name])
            place = at - 0.42 + (k + 0.5) * height
            axes.barh(place, speed, height, left=0, color=COLOURS.get(name, "black"), label=name)
        axes.axhline(at + 0.5, color="0.9", linewidth=0.8, zorder=0)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(left=0.002)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [BY_NAME[r["name"]].title for r in rows])
    axes.set_xlabel("speed relative to the fastest peer (right is faster)")
    axes.set_title(_many(data["threads"]))
    axes.spines[["top", "right"]].set_visible(False)
