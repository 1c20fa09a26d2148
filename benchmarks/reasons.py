"""Why a target is missed: by table (its title up to the first comma), by row.

The page prints these under the tables, for the rows that miss; rows that do not, it leaves out.
`REST` is the reason for rows that have none of their own. What takes the time was found by running
the first k kernels of a program (`--stage loops`) for every k.
"""

from __future__ import annotations

REST = "others"

REASONS: dict[str, dict[str, str]] = {
    "Value and gradients": {
        "gelu and sum, 4M": (
            "bound by arithmetic: value and derivative are two kernels, each of which reads all of "
            "`x` and computes the error function"
        ),
        "softmax cross-entropy 4096×1000": (
            "three passes over the logits (maximum, sum, gradient), row after row in each rather "
            "than all three for a row that is in the cache, and two exponentials an element"
        ),
        "layer norm 4096×1024, three gradients": (
            "the reductions over a row, which depend on each other, are kernels of their own: `x` "
            "is read six times and `g` five times"
        ),
        "MLP 256×784→512→256→10": (
            "the large products run at 150 GFLOP/s of 185; those of the last layer, ten columns "
            "wide, and the sums of the offsets' gradients run far below"
        ),
        "attention 4×8×256×64": (
            "the six products, 256×64×256 each and 32 of them, run at 70 to 100 GFLOP/s of 185 "
            "(19 of 25 ms); the steps of the softmax are kernels of their own and store the table "
            "of weights five times"
        ),
        "conv2d 16×32×32×32 with 64×3×3": (
            "each row of each picture is a matrix product of its own, 30 columns wide, for which "
            "the window is packed again: 55 to 95 GFLOP/s of 185"
        ),
        "Black–Scholes 1M with four greeks": (
            "one kernel, bound by arithmetic: two error functions, three exponentials, a "
            "logarithm, and the divisions that the formula and its derivatives have as written"
        ),
        "Lennard-Jones 1000 atoms, forces": (
            "`r2**6` is a general power (3.1 of 4.4 ms); the tables of squared distances and of "
            "the derivatives by them are stored"
        ),
        "Gaussian kernel product 4000×4000×3": (
            "two tables of all pairs are stored, since each holds a sum (over three coordinates) "
            "that several kernels read: writing them takes 23 of 33 ms"
        ),
        "logistic regression 20000×100": (
            "`x` is read twice, for the product and for the gradient, rather than in blocks of "
            "rows for both"
        ),
    },
    "Matrix products": {
        REST: (
            "small and thin products do not pay for packing and run on tiles of loads; PyTorch and "
            "NumPy have kernels of their own for them"
        ),
    },
    "Elementary functions": {
        REST: "the polynomial keeps to its bound in ulp over the whole range, edges included",
    },
    "Tensors": {
        REST: (
            "in cache the elementary function, at the largest sizes the matrix product is what "
            "takes the time: see the tables above"
        ),
    },
    "Source to first result": {
        REST: (
            "cold: importing the compiler and LLVM (half of it for a small program), LLVM's "
            "object code (half of it for a large one); warm: importing what loads code, and "
            "loading it"
        ),
    },
}


def reason(title: str, row: str) -> str:
    """For a row of the table of that title."""
    reasons = REASONS.get(title.partition(",")[0], {})
    return reasons.get(row) or reasons.get(REST) or "no reason stated yet"
