"""The carrier inside one worker: a message is handed over as it is. No copy; messages are frozen."""

from __future__ import annotations

from dataclasses import dataclass

from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message, conformed, size_in_bytes


@dataclass
class StreamRoute:
    """From an Out to an In. wanted: the type that the receiver declares."""

    mailbox: StreamMailbox
    wanted: type[Message] | None = None
    link: StreamLink | None = None

    def data(self, sequence: int, message: Message) -> None:
        assert self.link is not None
        size, link = size_in_bytes(message), self.link
        self.mailbox.put(link.number, conformed(message, self.wanted), size, link.credit, sequence)

    def barrier(self, sequence: int, number: int) -> None:
        assert self.link is not None
        self.mailbox.barrier(self.link.number, number)

    def end(self, sequence: int) -> None:
        assert self.link is not None
        self.mailbox.end(self.link.number)


@dataclass
class CallRoute:
    """From a Call to a Serve, and the answers back.

    wanted: the question's type as the server declares it; answers: the answer's as the caller does.
    """

    mailbox: QuestionMailbox
    wanted: type[Message] | None = None
    answers: type[Message] | None = None
    link: CallLink | None = None

    def question(self, request: int, question: Message) -> None:
        link = self.link
        assert link is not None
        self.mailbox.put(
            link.number,
            request,
            conformed(question, self.wanted),
            size_in_bytes(question),
            lambda answer: link.answer(request, conformed(answer, self.answers)),
            lambda for_good: link.failure(request, for_good),
        )

    def end(self, sequence: int) -> None:
        assert self.link is not None
        self.mailbox.end(self.link.number)


@dataclass
class NewestRoute:
    """From a Publish to a Latest. wanted: the type that the reader declares."""

    mailbox: NewestMailbox
    wanted: type[Message] | None = None
    link: NewestLink | None = None

    def newest(self, generation: int, version: int, message: Message) -> None:
        assert self.link is not None
        self.mailbox.put(self.link.number, generation, version, conformed(message, self.wanted), size_in_bytes(message))
        self.link.seen()

    def end(self, sequence: int) -> None:
        assert self.link is not None
        self.mailbox.end(self.link.number)
