"""Numbers that look random and are functions of their place: the mixer of splitmix64.

(Steele, Lea and Flood, 2014, Fast Splittable Pseudorandom Number Generators, section 3.)
"""

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What neighbouring places are told apart by before they are mixed."""


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Apply the finaliser of splitmix64, a bijection."""
    # Products wrap around modulo 2^64, as they must; numpy warns of it for scalars alone.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
