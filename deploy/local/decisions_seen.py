"""What the workers decided and why, read from their topics while somebody uses the pages."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer

from countersign.metadata_age import METADATA_AGE_MS

if TYPE_CHECKING:
    from types import TracebackType

    from countersign.runtime.broker.kafka import KafkaConnection

_ASSESSED = b"countersign.access.assessed.v1"
_GRANTED = b"countersign.access.granted.v1"
_DENIED = b"countersign.access.denied.v1"


@dataclass(frozen=True)
class Seen:
    """One event of a request."""

    ce_type: bytes
    data: dict[str, Any]

    @property
    def granted(self) -> bool:
        return self.ce_type == _GRANTED


class Watch:
    """Reads the two topics from now on, without a group: nobody's work is touched."""

    def __init__(self, kafka: KafkaConnection, user_id: str) -> None:
        self._user_id = user_id
        self._seen: list[Seen] = []
        self._consumer = AIOKafkaConsumer(
            "access.assessments.v1",
            "access.decisions.v1",
            **kafka.arguments(),
            auto_offset_reset="latest",
            request_timeout_ms=20_000,
            metadata_max_age_ms=METADATA_AGE_MS,
        )

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        for partition in self._consumer.assignment():
            await self._consumer.position(partition)  # settles where "from now on" begins
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def assessment(self, action: str) -> Seen:
        """Wait for the next assessment of that action, and forget it."""
        return await self._next(action, assessed=True)

    async def decision(self, action: str) -> Seen:
        """Wait for the next decision about that action, and forget it."""
        return await self._next(action, assessed=False)

    async def denial(self, action: str) -> Seen | None:
        """Return the denial of that action if there is one by now, without forgetting it."""
        for batch in (await self._consumer.getmany(timeout_ms=500)).values():
            self._seen += [seen for record in batch if (seen := self._mine(record)) is not None]
        denied = (one for one in self._seen if one.data["action"] == action and one.ce_type == _DENIED)
        return next(denied, None)

    async def _next(self, action: str, *, assessed: bool) -> Seen:
        async with asyncio.timeout(20):
            while True:
                for one in self._seen:
                    if one.data["action"] == action and (one.ce_type == _ASSESSED) is assessed:
                        self._seen.remove(one)
                        return one
                for batch in (await self._consumer.getmany(timeout_ms=50)).values():
                    self._seen += [seen for record in batch if (seen := self._mine(record)) is not None]

    def _mine(self, record: Any) -> Seen | None:
        try:
            data = json.loads(record.value or b"null")
        except ValueError:
            return None  # anybody may have written it; the workers have their dead letters for that
        if not isinstance(data, dict) or data.get("user_id") != self._user_id:
            return None
        return Seen(dict(record.headers).get("ce_type", b""), data)
