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
            "bound by memory: `x` is read once and the derivative written once, but a line that "
            "is written is read first (stores past the cache were tried: no faster here)"
        ),
        "softmax cross-entropy 4096×1000": (
            "bound by memory and one exponential an element; a line that is written is read first "
            "(stores past the cache were tried: 0.8 to 1.1 times as fast)"
        ),
        "layer norm 4096×1024, three gradients": (
            "nine kernels go over a block of rows in the second-level cache: `x` is read six "
            "times from there and `g` five times"
        ),
        "MLP 256×784→512→256→10": (
            "bound by arithmetic: the large products run at 110 to 155 GFLOP/s of 180 (packing "
            "takes the rest: 0.75 ns an element of either operand), those with 10 columns at 30 "
            "to 50"
        ),
        "attention 4×8×256×64": (
            "bound by arithmetic: five products at 110 to 155 GFLOP/s (each head's operands are "
            "packed anew), and eight passes over a head's table of weights in the second-level "
            "cache"
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
            "squared distances and the derivatives by them are kept for a block of rows, and four "
            "kernels read them"
        ),
        "Gaussian kernel product 4000×4000×3": (
            "squared distances and the exponentials are kept for a block of rows, and three "
            "kernels read them"
        ),
        "logistic regression 20000×100": (
            "blocks of rows stay in the cache between the product and the gradient; vectors of 16 "
            "fit 100 columns 6.25 times"
        ),
    },
    "Matrix products": {
        "1×1024 · 1024×1024, one row": "bound by memory: the right operand is read once",
        "1024×1024 · 1024×1, one column": "bound by memory: the left operand is read once",
        REST: (
            "packing both operands takes a tenth of a large product; the rest is the microkernel"
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
