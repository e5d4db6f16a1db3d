"""The workers of a plan in one process: opened when there is something for them to do, closed together."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from curate_resources.declarations.stage import ClosedWorker, LiveWorker, Made, Work, Worker
from curate_resources.engines.node_setup import prepared
from curate_resources.pipeline.plan import Plan

_log = logging.getLogger("curate.stages")

_CLOSE_SECONDS = 10.0
"""How long a worker may take to close."""

T = TypeVar("T")


class OpenWorkers:
    """The workers of a plan's stages, by the number of the stage."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._workers: dict[int, Worker | LiveWorker] = {}
        self._loop: _LoopThread | None = None

    def begin(self, stage: int, work: Work) -> Made | Future[Made]:
        """The rows of a work; of a worker with a life, as soon as they are there."""
        if stage not in self._workers:
            declared = self._plan.stages[stage]
            prepared(declared, self._plan.config, self._plan.storage)
            self._workers[stage] = declared.open(self._plan.config, self._plan.storage)
        worker = self._workers[stage]
        if not isinstance(worker, LiveWorker):
            return worker(work)
        if self._loop is None:
            self._loop = _LoopThread()
        return self._loop.submit(worker.rows(work))

    def close(self) -> None:
        """Close all; what is still under way is canceled. Workers that are asked for something later are new ones."""
        workers, self._workers = self._workers, {}
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel_all()
        for stage, worker in workers.items():
            try:
                if isinstance(worker, ClosedWorker):
                    worker.close()
                elif isinstance(worker, LiveWorker) and loop is not None:
                    loop.submit(worker.close()).result(_CLOSE_SECONDS)
            except Exception:
                _log.exception("the worker of %s did not close", self._plan.stages[stage].name)
        if loop is not None:
            loop.stop()


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live workers", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def cancel_all(self) -> None:
        """Cancel what is under way, and wait until it has noticed."""

        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.submit(cancel()).result(_CLOSE_SECONDS)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
