"""What a producer imports: `from drover import Drover`."""

from common.client import Answer, ChatStream, Chunk, Drover
from common.durable import Priority
from common.errors import FleetError
from common.messages import Message, Options, Role

__all__ = ["Answer", "ChatStream", "Chunk", "Drover", "FleetError", "Message", "Options", "Priority", "Role"]
