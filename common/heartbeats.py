"""Heartbeats as they come off the bus: read, and held to the subject they came on; who keeps them is not known here."""

from __future__ import annotations

from common import codec
from common.bus import Delivery
from common.errors import BadRequest
from common.messages import Heartbeat
from common.subjects import Subjects, require_token


def read_heartbeat(delivery: Delivery, subjects: Subjects) -> Heartbeat:
    """Read a heartbeat. Raises `BadRequest` when it is garbled, or speaks for another device than its subject names.

    The server can hold a device to its subject, and to nothing that stands in the message.
    """
    beat = codec.build(Heartbeat, codec.decode_request(delivery.data))
    if delivery.subject != subjects.heartbeat(require_token("device", beat.device)):
        raise BadRequest(f"the heartbeat of {beat.device!r} came on another device's subject", param="device")
    return beat
