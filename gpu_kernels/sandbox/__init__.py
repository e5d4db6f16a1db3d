"""Hostile media is opened in a child process that is shut off; a crash there is one failed row.

A *nursery* process imports the decoders once and forks a child for every request, so isolation costs milliseconds.
The child knows a few environment variables only, has limits on memory, CPU time and output, may open its source and the
libraries for reading and nothing else, and reaches no network and no other process, as far as the kernel can forbid it.
It answers over a pipe in messages: a JSON header and raw buffers, never pickles, so that a child that was taken over
can lie but not run code here; what it says is checked before it is believed. A child dies with its nursery, and the
nursery with whoever holds the other end of its socket, however that one ends.
"""

from gpu_kernels.sandbox.limits import DecoderCrashed, DecodingLimits, MediaError
from gpu_kernels.sandbox.messages import ChildMessage, Header, Send, reader_of
from gpu_kernels.sandbox.nursery import Nursery

__all__ = ["ChildMessage", "DecoderCrashed", "DecodingLimits", "Header", "MediaError", "Nursery", "Send", "reader_of"]
