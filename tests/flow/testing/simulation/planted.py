"""Mistakes planted into the runtime, each by the few lines that it would take to make it."""

from __future__ import annotations

from flow.carrier import memory
from flow.carrier.peer import Peer
from flow.carrier.zeromq import Hub
from flow.credit import Window
from flow.host import Host
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import QuestionMailbox, StreamMailbox


def link_drops_on_peer_restart(patch):
    connect = Peer.connect

    def forgetful(self, path, epoch):
        again = self.epoch >= 0
        connect(self, path, epoch)
        if again:
            post = self.post
            self.post = lambda frames: setattr(self, "post", post)  # the first message to the new one is lost

    patch.setattr(Peer, "connect", forgetful)


def sequence_goes_on_over_a_restart(patch):
    restarted = StreamLink.receiver_restarted

    def wrong(self):
        sequence = self.sequence
        restarted(self)
        self.sequence = sequence

    patch.setattr(StreamLink, "receiver_restarted", wrong)


def window_is_not_reset_on_peer_restart(patch):
    def wrong(self):
        self.sequence = 0
        self.credit_came.unpark_all()
        if self.ended:
            self.route.end(self.sequence)

    patch.setattr(StreamLink, "receiver_restarted", wrong)


def end_is_not_said_again_on_peer_restart(patch):
    def wrong(self):
        self.tally.unsettled.add(self.window.reset())
        self.sequence = 0
        self.credit_came.unpark_all()

    patch.setattr(StreamLink, "receiver_restarted", wrong)


def credit_of_the_dead_counts(patch):
    taken = Hub._taken

    def wrong(self, link, received):
        def give(messages, size):
            received.held += messages
            received.held_size += size
            self._return_credit(link, received)

        taken(self, link, received)
        received.taken = give
        return give

    patch.setattr(Hub, "_taken", wrong)


def held_credit_is_forgotten(patch):
    async def wrong(self):
        import trio

        await trio.sleep_forever()

    patch.setattr(Hub, "_return_held_credit", wrong)


def credit_is_lost_when_a_message_is_taken_at_once(patch):
    take_nowait = StreamMailbox.take_nowait

    def wrong(self):
        if self.waiting and len(self.waiting) % 2 == 0:
            link, message, size, _ = self.waiting.popleft()
            self.tally_of(link).add(size)
            return message
        return take_nowait(self)

    patch.setattr(StreamMailbox, "take_nowait", wrong)


def mailbox_reorders(patch):
    take_nowait = StreamMailbox.take_nowait

    def wrong(self):
        if len(self.waiting) > 1:
            self.waiting[0], self.waiting[1] = self.waiting[1], self.waiting[0]
        return take_nowait(self)

    patch.setattr(StreamMailbox, "take_nowait", wrong)


def mailbox_does_not_wake_its_reader(patch):
    def wrong(self, link, message, size, taken, sequence=-1):
        self.waiting.append((link, message, size, taken, sequence))

    patch.setattr(StreamMailbox, "put", wrong)


def mailbox_doubles(patch):
    def wrong(self, sequence, message):
        for _ in range(2):
            self.mailbox.put(self.link.number, message, 0, lambda messages, size: None)

    patch.setattr(memory.StreamRoute, "data", wrong)


def no_window(patch):
    patch.setattr(Window, "fits", lambda self, size: True)


def outbox_outlives_its_peer(patch):
    def wrong(self):
        self._drained.unpark_all()
        if self._way is not None:
            self._way.close()
            self._way = None

    patch.setattr(Peer, "disconnect", wrong)


def questions_to_the_dead_are_not_asked_again(patch):
    patch.setattr(CallLink, "receiver_restarted", lambda self: None)


def failed_node_leaves_its_callers_waiting(patch):
    patch.setattr(QuestionMailbox, "fail_all", lambda self, for_good=False: self.gathering.waiting.clear())


def newest_value_is_kept_back(patch):
    patch.setattr(NewestLink, "seen", lambda self: None)


def ended_node_keeps_its_mailbox_open(patch):
    patch.setattr(StreamMailbox, "close", lambda self: None)


def failed_node_closes_nothing_of_its_own(patch):
    end = Host._end

    def wrong(self, ports):
        end(self, {name: port for name, port in ports.items() if not hasattr(port, "send")})

    patch.setattr(Host, "_end", wrong)
