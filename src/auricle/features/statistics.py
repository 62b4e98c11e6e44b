"""Mean and standard deviation of a data set's log-mel values, for the normalisation."""

import math

from torch import Tensor

from auricle.errors import DataError
from auricle.padding import inside


class Statistics:
    """Mean and population standard deviation over all true frames of the clips given so far.

    Sums are kept in float64, so that the order of the clips does not matter.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._sum_of_squares = 0.0

    def update(self, log_mel: Tensor, frame_counts: Tensor) -> None:
        """Add values `(B, T, M)`, not normalised, of which a clip's first frames are true."""
        values = log_mel[inside(frame_counts, log_mel.shape[1])].cpu().double()  # (true frames, M)
        self._count += values.numel()
        self._sum += values.sum().item()
        self._sum_of_squares += values.square().sum().item()

    def add(self, other: "Statistics") -> None:
        """Add the frames of another one."""
        self._count += other._count
        self._sum += other._sum
        self._sum_of_squares += other._sum_of_squares

    @property
    def mean(self) -> float:
        """Mean of the log-mel values; DataError: no clip was given yet."""
        self._refuse_nothing()
        return self._sum / self._count

    @property
    def std(self) -> float:
        """Standard deviation of the log-mel values, undivided; DataError: no clip was given yet."""
        self._refuse_nothing()
        variance = self._sum_of_squares / self._count - self.mean**2
        return math.sqrt(max(0.0, variance))

    def _refuse_nothing(self) -> None:
        if self._count == 0:
            raise DataError("statistics: there are no frames to measure. Give at least one clip.")
