"""What made an explanation: the model, its inputs and how maps were made, to ask it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmgrad_explain.explanation.map_check import MapCheck
    from mmgrad_explain.explanation.maps import ExplainedMaps


class Source(Protocol):
    """What made an explanation and can run the model again."""

    def check(
        self,
        explanation: ExplainedMaps,
        samples: Sequence[int],
        *,
        target: bool,
        other: Any,
        progress: Callable[[str, int, int], None],
    ) -> list[MapCheck]:
        """Check the maps of some samples."""
