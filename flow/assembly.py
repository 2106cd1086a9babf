"""Builds the ports of one worker's nodes: mailboxes, links and the routes between them.

What both ends of a link need lies here, and outlives a node: one that is started again in its worker gets new
port objects over the same links and mailboxes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import trio

from flow.carrier import memory
from flow.carrier.zeromq import Hub, Received, Route, Sent
from flow.credit import Window
from flow.handling import Handling
from flow.links import CallLink, Link, NewestLink, StreamLink
from flow.mailbox import Mailbox, NewestMailbox, QuestionMailbox, StreamMailbox
from flow.node_type import NodeType, Port
from flow.occupancy import Doing, Occupancy
from flow.plan import CALL, STREAM, LinkPlan, NodePlan, Plan
from flow.port_spec import Measures, PortSpec, Rest
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.stats import Page
from flow.tally import Tally
from flow.wire import Schema

End = tuple[str, int, str]


@dataclass
class Assembly:
    """The mailboxes and links of one worker.

    pages: the stats pages of the nodes hosted here. sending: the links of each sending port, with their group. aligned:
    whether arrays that nodes take are made to begin at a multiple of 64 bytes.
    """

    plan: Plan
    worker: str
    hub: Hub
    types: dict[str, NodeType[Any]]
    settings: dict[str, dict[str, Any]]
    pages: dict[str, Page]
    aligned: bool = False
    mailboxes: dict[End, Mailbox] = field(default_factory=dict)
    sending: dict[End, list[tuple[int, Link]]] = field(default_factory=lambda: defaultdict(list))
    tallies: dict[tuple[End, str], Tally] = field(default_factory=dict)
    _occupancies: dict[str, Occupancy] = field(default_factory=dict)
    credit_came: dict[End, trio.lowlevel.ParkingLot] = field(
        default_factory=lambda: defaultdict(trio.lowlevel.ParkingLot)
    )

    def build(self) -> None:
        """Make every mailbox and link that this worker holds an end of."""
        links = self.plan.links_of(self.worker)
        for link in links:
            if self._is_here(link.receiver) and link.receiver not in self.mailboxes:
                feeders = sum(other.receiver == link.receiver for other in links)
                self.mailboxes[link.receiver] = self._mailbox(link, feeders)
            if self._is_here(link.receiver):
                name = f"edge.{link.edge}.received"
                mailbox = self.mailboxes[link.receiver]
                mailbox.tallies[link.number] = self._tally(link.receiver, name)
                if isinstance(mailbox, StreamMailbox):
                    mailbox.barriers.links.add(link.number)
                    if link.feedback:
                        mailbox.barriers.feedback.add(link.number)
        for link in links:
            if self._is_here(link.sender):
                self._begin(link)
            else:
                self._end(link)

    def _is_here(self, end: End) -> bool:
        return self.plan.worker_of(end[0], end[1]) == self.worker

    def _mailbox(self, link: LinkPlan, feeders: int) -> Mailbox:
        tally = self._tally(link.receiver, f"edge.{link.edge}.received")
        if link.kind == STREAM:
            return StreamMailbox(feeders, tally)
        return QuestionMailbox(feeders, tally) if link.kind == CALL else NewestMailbox(feeders, tally)

    def _tally(self, end: End, name: str, why: Doing = "starved") -> Tally:
        if (end, name) not in self.tallies:
            key = f"{end[0]}-{end[1]}"
            self.tallies[end, name] = Tally.on(self.pages[key], name, why, self.occupancy(key))
        return self.tallies[end, name]

    def occupancy(self, key: str) -> Occupancy:
        """Where the time of a node hosted here is accounted."""
        if key not in self._occupancies:
            self._occupancies[key] = Occupancy(self.pages[key])
        return self._occupancies[key]

    def settle(self) -> None:
        """Account all waits under way until now."""
        for occupancy in self._occupancies.values():
            occupancy.settle()
        for tally in self.tallies.values():
            tally.waiting.settle()

    def _begin(self, plan: LinkPlan) -> None:
        """The sending end of a link."""
        name = f"edge.{plan.edge}.sent"
        tally = self._tally(plan.sender, name, "blocked" if plan.kind == STREAM else "starved")
        if (page := self.pages.get(f"{plan.sender[0]}-{plan.sender[1]}")) is not None:
            self._say_kind(page, name, plan, tally)
        here = self._is_here(plan.receiver)
        peer = self.hub.peer(self.plan.worker_of(*plan.receiver[:2])) if not here else None
        route: Any = Route(self.hub, peer, plan.number, plan.compress) if peer is not None else self._memory_route(plan)
        link = self._link(plan, route, tally)
        if peer is None:
            route.link = link
        else:
            answers = self._schema(plan.sender, 1) if plan.kind == CALL else None
            self.hub.sent[plan.number] = Sent(peer, link, answers)
        self.sending[plan.sender].append((plan.group, link))

    def _link(self, plan: LinkPlan, route: Any, tally: Tally) -> Link:
        if plan.kind == STREAM:
            window = Window(plan.credit, plan.credit_bytes)
            return StreamLink(plan.number, window, route, tally, self.credit_came[plan.sender])
        if plan.kind == CALL:
            return CallLink(plan.number, plan.credit, route, tally)
        return NewestLink(plan.number, route, tally)

    def _say_kind(self, page: Page, name: str, plan: LinkPlan, tally: Tally) -> None:
        """What tells a reader of the page what kind of edge it is: a stream has credit, a call has answers."""
        if plan.kind == STREAM:
            mine = (link for link in self.plan.links if (link.sender, link.edge) == (plan.sender, plan.edge))
            page.gauge(f"{name}_credit").set(sum(link.credit for link in mine))
        elif plan.kind == CALL:
            tally.answered = page.counter(f"{name}_answered")

    def _memory_route(self, plan: LinkPlan) -> Any:
        mailbox: Any = self.mailboxes[plan.receiver]
        wanted = self._schema(plan.receiver, 0).message
        if plan.kind == STREAM:
            return memory.StreamRoute(mailbox, wanted)
        if plan.kind == CALL:
            return memory.CallRoute(mailbox, wanted, self._schema(plan.sender, 1).message)
        return memory.NewestRoute(mailbox, wanted)

    def _end(self, plan: LinkPlan) -> None:
        """The receiving end of a link from another worker."""
        peer = self.hub.peer(self.plan.worker_of(*plan.sender[:2]))
        schema = self._schema(plan.receiver, 0)
        mailbox = self.mailboxes[plan.receiver]
        self.hub.received[plan.number] = Received(peer, mailbox, schema, plan.credit, plan.compress)

    def _schema(self, end: End, which: int) -> Schema:
        node_type = self.types[end[0]]
        return Schema(node_type.ports[end[2]].messages[which], node_type.port_sizes(end[2], self.settings[end[0]]))

    def ports(self, node: NodePlan, rest: Rest) -> dict[str, Any]:
        """New port objects for a start of a node."""
        return {name: self._port(node, port, rest) for name, port in self.types[node.name].ports.items()}

    def _port(self, node: NodePlan, port: Port, rest: Rest) -> Any:
        end = (node.name, node.replica, port.name)
        sizes = self.types[node.name].port_sizes(port.name, self.settings[node.name])
        measures = self._measures(node, port)
        spec = PortSpec(node.name, port.name, port.messages, sizes, self.plan.checked, rest, measures)
        spec.aligned = self.aligned
        if not port.sends:
            mailbox: Any = self.mailboxes[end]
            return {"In": In, "Serve": Serve, "Latest": Latest}[port.kind](spec, mailbox)
        links: list[Any] = [link for _, link in self.sending[end]]
        if port.kind == "Out":
            groups: dict[int, list[Any]] = defaultdict(list)
            for group, link in self.sending[end]:
                groups[group].append(link)
            return Out(spec, list(groups.values()), self.credit_came[end])
        return Call(spec, links) if port.kind == "Call" else Publish(spec, links)

    def _measures(self, node: NodePlan, port: Port) -> Measures:
        page = self.pages.get(node.key)
        if page is None:
            return Measures()
        is_source = not any(each.kind in ("In", "Serve") for each in self.types[node.name].ports.values())
        paces = port.kind in ("In", "Serve") or (port.kind == "Out" and is_source)
        name = f"port.{port.name}"
        return Measures(
            Handling(page.histogram(f"{name}.handling_us", "us")) if paces else None,
            page.histogram(f"{name}.answer_us", "us") if port.kind == "Call" else None,
            page.histogram(f"{name}.batch_rows") if port.kind == "Serve" else None,
        )

    def messages(self, node: NodePlan, *, sent: bool) -> int:
        """How many messages a node took, or sent, over all its ports."""
        suffix = ".sent" if sent else ".received"
        mine = ((end, name) for end, name in self.tallies if end[:2] == (node.name, node.replica))
        return sum(self.tallies[end, name].messages.value for end, name in mine if name.endswith(suffix))

    def node_failed(self, node: NodePlan) -> None:
        """Whoever waits for an answer of this node is told that there will be none."""
        for mailbox in self.mailboxes_of(node):
            if isinstance(mailbox, QuestionMailbox):
                mailbox.fail_all()

    def streams_into(self, node: NodePlan) -> dict[str, StreamMailbox]:
        """The mailboxes of a node's In ports."""
        mine = ((end, mailbox) for end, mailbox in self.mailboxes.items() if end[:2] == (node.name, node.replica))
        return {end[2]: mailbox for end, mailbox in mine if isinstance(mailbox, StreamMailbox)}

    def links_out_of(self, node: NodePlan) -> list[StreamLink]:
        """The sending ends of a node's streams."""
        mine = (links for end, links in self.sending.items() if end[:2] == (node.name, node.replica))
        return [link for links in mine for _, link in links if isinstance(link, StreamLink)]

    def mailboxes_of(self, node: NodePlan) -> list[Mailbox]:
        return [mailbox for end, mailbox in self.mailboxes.items() if end[:2] == (node.name, node.replica)]
