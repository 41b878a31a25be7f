"""What a producer imports: `from drover import Drover`."""

from common.chat_stream import Answer, ChatStream, Chunk
from common.client import Drover
from common.embedding import Embeddings
from common.errors import FleetError
from common.messages import Message, Options, Priority, Role

__all__ = [
    "Answer",
    "ChatStream",
    "Chunk",
    "Drover",
    "Embeddings",
    "FleetError",
    "Message",
    "Options",
    "Priority",
    "Role",
]
