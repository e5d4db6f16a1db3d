"""What all captioners that ask a server have in common."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from gpu_kernels.captioners.types import NO_FRAMES, Caption, CaptionRequest, SampledConfig, failed_caption
from gpu_kernels.models.serving import Connection, ServerSection


class ServedConfig(SampledConfig, ServerSection, ABC):
    """A server of models."""

    @property
    def runs_on(self) -> None:
        return None

    @property
    def at_once(self) -> int:
        return self.concurrency


_Served = TypeVar("_Served", bound=ServedConfig)


class ServedCaptioner(ABC, Generic[_Served]):
    """Asks a server about windows, each in a request of its own. Used by many threads.

    Raises:
        UserError: there is no key in the file that should have it.
    """

    def __init__(self, config: _Served) -> None:
        self.model, self.revision = config.identity()
        self._config: _Served = config
        self._server = Connection(config)

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        if not (window.frames or window.text_only):
            return NO_FRAMES
        try:
            return self._asked(window, key)
        except Exception as failure:
            return failed_caption(failure)

    def close(self) -> None:
        """End the connections; what still waits for its turn fails."""
        self._server.close()

    def _question(self, window: CaptionRequest) -> str:
        """What is asked about a window, after when its frames were taken."""
        if not window.frames:
            return window.prompt or self._config.prompt
        times = ", ".join(f"{seconds:.2f}" for seconds in window.times_s)
        said = self._config.frame_times.format(count=len(window.frames), times=times)
        return said + (window.prompt or self._config.prompt)

    @abstractmethod
    def _asked(self, window: CaptionRequest, key: str) -> Caption:
        """The caption of a window with frames.

        Raises:
            Exception: whatever is wrong.
        """
