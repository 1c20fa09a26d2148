"""Why a target is missed: by table (its title without the number of threads), by row.

The page prints these under the tables, for the rows that miss; rows that do not, it leaves out.
"""

from __future__ import annotations

REASONS: dict[str, dict[str, str]] = {
    "Value and gradients": {},
    "Matrix products": {},
    "Elementary functions": {},
    "Tensors": {},
}
