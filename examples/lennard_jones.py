"""Runs `lennard_jones.tdsl`: a cluster of 108 atoms, cut from a crystal and warmed.

In: nothing (a lattice and seeded velocities). Out: the drift of the total energy, which an exact
solution would keep, and pictures of the energies over time and of the final positions.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from display import picture, steps

HERE = Path(__file__).parent
CELLS, SPACING, TEMPERATURE, TIME_STEP, STEPS = 3, 1.56, 0.5, 0.004, 2500


def crystal(cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions on a face-centred cubic lattice of cells³ cubes and normal velocities with no
    momentum in all; both f64 [4·cells³, 3]."""
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    x = SPACING * (corners + basis).reshape(-1, 3)
    v = np.sqrt(TEMPERATURE) * np.random.default_rng(seed).standard_normal(x.shape)
    return x, v - v.mean(0)


def main(quick: bool = False) -> float:
    """Simulates and reports; returns the largest deviation of the total energy from its first
    value, as a share of that value."""
    m = tdsl.load(HERE / "lennard_jones.tdsl")
    x, v = crystal(2 if quick else CELLS)
    f = m.forces(x)
    potentials, kinetics = [m.potential(x)], [m.kinetic(v)]
    count = STEPS // 10 if quick else STEPS
    before = time.perf_counter()
    for _ in steps(count, "lennard_jones"):
        x, v, f, potential, kinetic = m.step(x, v, f, TIME_STEP)
        potentials.append(potential)
        kinetics.append(kinetic)
    took = time.perf_counter() - before

    total = np.array(potentials) + np.array(kinetics)
    drift = float(np.abs(total - total[0]).max() / abs(total[0]))
    temperature = 2 * np.mean(kinetics[count // 2 :]) / (3 * len(x))
    print(
        f"{len(x)} atoms, {count} steps of {TIME_STEP}: {took / count * 1e6:.0f} µs a step\n"
        f"energy {total[0]:.6f} at first, {total[-1]:.6f} at last; it strayed by {drift:.1e} "
        f"of itself at most\n"
        f"temperature {temperature:.3f} over the second half; "
        f"momentum {np.abs(v.sum(0)).max():.1e}, net force {np.abs(f.sum(0)).max():.1e}"
    )

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        clock = TIME_STEP * np.arange(count + 1)
        for label, energy in (
            ("potential", np.array(potentials) - potentials[0]),
            ("kinetic", np.array(kinetics) - kinetics[0]),
            ("total", total - total[0]),
        ):
            left.plot(clock, energy, label=label, linewidth=1)
        left.set_xlabel("time")
        left.set_ylabel("energy since the start")
        left.legend()
        right.plot(clock, (total - total[0]) / abs(total[0]), linewidth=0.6)
        right.set_xlabel("time")
        right.set_ylabel("relative drift of the total")

    picture("lennard_jones", draw, size=(9, 4))
    return drift


if __name__ == "__main__":
    main()
