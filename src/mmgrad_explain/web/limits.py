"""How much one visitor may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from mmgrad_explain.errors import InputError


@dataclass(frozen=True)
class Limits:
    """How much one visitor may ask for.

    Attributes:
        upload_mb: Largest file, in megabytes (10^6 bytes).
        pixels: Most pixels of an image, width times height; larger ones are refused before they are decoded.
        texts: Most sentences at once.
        characters: Most characters of a sentence.
        waiting: Most requests that wait in the queue.

    Raises:
        InputError: One is not positive.
    """

    upload_mb: float = 20.0
    pixels: int = 25_000_000
    texts: int = 6
    characters: int = 400
    waiting: int = 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"max-{name.replace('_', '-')} must be above 0, got {value}")

    @property
    def upload_bytes(self) -> int:
        """Largest file, in bytes."""
        return int(self.upload_mb * 1_000_000)
