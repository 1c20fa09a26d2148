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
            "one pass, bound by arithmetic (an error function and an exponential an element: 0.7 "
            "ns with AVX-512, 1.5 with AVX2, where 48 of 87 instructions for 8 lanes can only "
            "go to two of four pipes, and wait for each other in a chain of 90 cycles: three "
            "vectors side by side take 0.8 of the time, four as long; the body as two loops over "
            "32 steps each was tried: no faster) and then by memory: a line that is written is "
            "read first (stores past the cache, and asking for what is written, were tried: no "
            "faster)"
        ),
        "softmax cross-entropy 4096×1000": (
            "half is one exponential an element, the rest reading and writing; a line that is "
            "written is read first (stores past the cache were tried: 0.8 to 1.1 times as fast)"
        ),
        "layer norm 4096×1024, three gradients": (
            "five walks over a block of rows in the second-level cache, and two divisions an "
            "element that the formula has as written: one of 16 lanes takes 11 cycles, of 8 lanes 5"
        ),
        "MLP 256×784→512→256→10": (
            "bound by arithmetic: five sixths of the time is the microkernel at its peak, the rest "
            "mostly packing"
        ),
        "attention 4×8×256×64": (
            "bound by arithmetic: three quarters of the time is the microkernel near its peak; the "
            "rest is the exponential, the divisions of the softmax and its gradient, and packing"
        ),
        "conv2d 16×32×32×32 with 64×3×3": (
            "bound by arithmetic: with AVX-512 88 % of the time is the microkernel, 160 to 175 "
            "GFLOP/s of 185 (two vectors hold 30 of 32 columns, and of the gradient by x an eighth "
            "is products with the zeros around it); packing takes 6 %"
        ),
        "Black–Scholes 1M with four greeks": (
            "one kernel, bound by arithmetic: two error functions, three exponentials, a "
            "logarithm, and the divisions that the formula and its derivatives have as written; "
            "with AVX2 two vectors side by side take 0.9 of the time, three as long"
        ),
        "Lennard-Jones 1000 atoms, forces": (
            "one pass over all pairs, bound by divisions: the formula and its derivative have two "
            "each, and one of 16 lanes takes 11 cycles, of 8 lanes 5; the floor counts one"
        ),
        "Gaussian kernel product 4000×4000×3": (
            "one pass, bound by arithmetic: a pair's exponential takes 17 operations on vectors, "
            "the rest of it 20"
        ),
        "logistic regression 20000×100": (
            "blocks of rows stay in the cache between the product and the gradient; vectors of 16 "
            "fit 100 columns 6.25 times, those of 8 12.5 times"
        ),
    },
    "Matrix products": {
        "1×1024 · 1024×1024, one row": (
            "bound by memory: the right operand is read once, eight rows side by side"
        ),
        "1024×1024 · 1024×1, one column": (
            "bound by memory: the left operand is read once, four rows side by side"
        ),
        REST: (
            "packing, mostly of the right operand, takes 8 % of a product at 128, 3 % at 1000; the "
            "rest is the microkernel near its peak, but for vectors that a size leaves partly "
            "empty (100: a ninth of the time for 4 columns). Peers and we lose unequally while "
            "others use the same core. Tried, no faster: other blocks, tiles of 12×2, 14×2, 9×3, "
            "6×4 and 5×5, operands asked for ahead, loaded a step before they are used, or used "
            "from memory, the left one packed, the right one packed by both threads together, "
            "huge pages, stores past the cache"
        ),
    },
    "From the second thread": {
        "MLP 256×784→512→256→10": (
            "some 90 µs are kernels too small to be shared out (the products with 10 columns, the "
            "loss, the sums for biases), and each thread packs the operand that both need, a "
            "twentieth of a product; packing it together, and sharing out smaller products, were "
            "tried: no faster"
        ),
        REST: "two threads share the caches and the memory; see the machine's own ratio",
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
            "cold: the compiler and LLVM are imported in 80 ms; the entry and what contractions "
            "share are made once per machine, 0.2 s of a core; the rest is LLVM on the program's "
            "own functions, nearly half of it in the selection of instructions (tried: its lower "
            "levels, as long; its fast selection or no scheduler, 0.87 of its time, slower code)"
        ),
    },
}


def reason(title: str, row: str) -> str:
    """For a row of the table of that title."""
    reasons = REASONS.get(title.partition(",")[0], {})
    return reasons.get(row) or reasons.get(REST) or "no reason stated yet"
