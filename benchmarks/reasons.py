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
            "bound by arithmetic: the large products run at 110 to 155 GFLOP/s of 180 (packing "
            "takes the rest: 0.75 ns an element of either operand), those with 10 columns at 30 "
            "to 50"
        ),
        "attention 4×8×256×64": (
            "the table of weights (8 MB) is stored and read again at every step of the softmax and "
            "of its derivative: rows are not yet computed in one pass"
        ),
        "conv2d 16×32×32×32 with 64×3×3": (
            "products run over rows of 30 or 32 columns, each packed anew for every place of the "
            "window; the picture's gradient asks for every element whether it is outside"
        ),
        "Black–Scholes 1M with four greeks": (
            "one kernel, bound by arithmetic: two error functions, three exponentials, a "
            "logarithm, and the divisions that the formula and its derivatives have as written"
        ),
        "Lennard-Jones 1000 atoms, forces": (
            "the tables of squared distances and of the derivatives by them are stored, and five "
            "kernels read them: 0.4 of 1.7 ms for the first, 0.5 for the second, 0.6 for the sums"
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
        "1×1024 · 1024×1024, one row": (
            "the right operand is read in strips of 32 columns, from row to row a page apart"
        ),
        "1024×1024 · 1024×1, one column": (
            "a vector's 16 lanes lie along the columns of the product, of which there is one"
        ),
        REST: (
            "packing both operands takes 0.75 ns an element (memory), a tenth of a product of side "
            "1000; the microkernel runs at 165 to 170 GFLOP/s, as fast as MKL in all"
        ),
    },
    "Elementary functions": {
        REST: "the formula keeps to its bound in ulp over the whole range, edges included",
    },
    "Tensors": {
        REST: (
            "in cache the elementary function, at the largest sizes the matrix product is what "
            "takes the time: see the tables above"
        ),
    },
    "Source to first result": {
        REST: (
            "cold: importing the compiler and LLVM, and SymPy where a derivative is looked for; "
            "warm: importing what loads the code"
        ),
    },
}


def reason(title: str, row: str) -> str:
    """For a row of the table of that title."""
    reasons = REASONS.get(title.partition(",")[0], {})
    return reasons.get(row) or reasons.get(REST) or "no reason stated yet"
