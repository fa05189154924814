"""How old may be what a Kafka client knows of the cluster."""

from __future__ import annotations

# aiokafka's default is 5 minutes. A partition that was added, or a topic that came back, would be read by nobody for so
# long, and every access request on it would be denied as stale (after 2 minutes). Chosen: 10 s at most.
METADATA_AGE_MS = 5_000
