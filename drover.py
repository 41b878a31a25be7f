"""What a producer imports: `from drover import Drover`."""

from common.client import Answer, ChatStream, Chunk, Drover
from common.errors import FleetError
from common.messages import Message, Options, Priority, Role

__all__ = ["Answer", "ChatStream", "Chunk", "Drover", "FleetError", "Message", "Options", "Priority", "Role"]
