"""Progress of a batch: counts, remaining time, and the request to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_BATCHES_IN_MEAN = 50


@dataclass
class BatchProgress:
    """Progress of a batch, with or without a display.

    Attributes:
        total: number of images to draw.
        done: number of finished images.
        stop_level: 0 to go on, 1 to finish the current images and stop, 2 to stop after the current step and
            drop its images.
        has_begun: whether a first step is done.
        on_update: called with a text, the number of finished images (a fraction while one is drawn) and the
            total.
    """

    total: int = 0
    done: int = 0
    stop_level: int = 0
    has_begun: bool = False
    on_update: Callable[[str, float, int], None] | None = None
    _times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_BATCHES_IN_MEAN))

    @property
    def goes_on(self) -> bool:
        """True if another image may begin."""
        return self.stop_level == 0

    def begin(self, total: int) -> None:
        """Set the number of images to draw."""
        self.total = total
        self._update("drawing images", 0)

    def on_step(self, step: int, steps: int, images: int) -> bool:
        """Count one step of some images; return False if they are to be dropped."""
        self.has_begun = True
        fraction = images * step / max(steps, 1) if step < steps else 0
        self._update(self.text(), self.done + fraction)
        return self.stop_level < 2

    def on_finished(self, images: int, seconds: float) -> None:
        """Count finished images and the time that they took together."""
        self.done += images
        self._times.append((images, seconds))
        self._update(self.text(), self.done)

    def seconds_left(self) -> float | None:
        """Return the remaining time by the mean of the last batches; None before the first."""
        images = sum(number for number, _ in self._times)
        if not images:
            return None
        return (self.total - self.done) * sum(seconds for _, seconds in self._times) / images

    def text(self) -> str:
        """Return the counts and the remaining time as text."""
        left = self.seconds_left()
        rest = "" if left is None else f", {format_duration(left)} left"
        return f"{self.done} of {self.total} images{rest}"

    def _update(self, text: str, done: float) -> None:
        if self.on_update is not None:
            self.on_update(text, done, self.total)


def format_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> format_duration(45), format_duration(700), format_duration(11100)
    ('45 s', '12 min', '3 h 05 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
