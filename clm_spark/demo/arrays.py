"""What a position in a block of customers, visits or events holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.signedinteger[Any]]
Reals = NDArray[np.floating[Any]]
Marks = NDArray[np.bool_]
