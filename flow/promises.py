"""What a node promises beyond its types: what `flow test` holds it to, declared where the node is.

    @node(promises=Promises(cut={"recordings": "samples.time"}, excused={"C13": "the rest of a clip is not saved"}))
    async def chunker(recordings: In[Clip], chunks: Out[Clip], *, seconds: float = 1.0) -> None: ...

A node that says nothing promises what most nodes hold; see each field. Rules are told by `flow test --rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flow.errors import NodeTypeError

_RULE = re.compile(r"C\d\d")


@dataclass(frozen=True)
class Promises:
    """What is known of a node beyond its signature.

    Attributes:
      cut: by port, the field and dimension along which a stream may be cut anywhere without changing what comes out,
        as in {"recordings": "samples.time"}. With an Out port in it, what that sends may be cut otherwise too.
      order: "total": outputs come in the order of the inputs. "none": in any. "by FIELD": outputs with an equal
        value of that field do.
      seeded: what it does depends on `Context.seed`.
      batching: what an answer may owe to the size of its batch: "exact", nothing; "tolerance", rounding.
      tolerance: of each number's size, where batching allows rounding; and the tolerance at 0.
      drawn: fields of answers that are drawn at random, so that they are not compared from batch to batch.
      holds: messages of each In port that it may have in hand, or keep in memory that is not saved.
      same: dimensions that mean one size during a run; the first dimension of a message's arrays differs otherwise.
      given: "module:function" that says what valid settings and inputs are where types and ranges cannot.
      excused: by rule, why the node does not keep it.
    """

    cut: Mapping[str, str] = field(default_factory=dict)
    order: str = "total"
    seeded: bool = False
    batching: Literal["exact", "tolerance"] = "tolerance"
    tolerance: float = 1e-5
    drawn: tuple[str, ...] = ()
    holds: int = 1
    same: tuple[str, ...] = ()
    given: str = ""
    excused: Mapping[str, str] = field(default_factory=dict)

    @property
    def order_field(self) -> str | None:
        """The field by whose value outputs keep their order, None if they do whatever it is, or do not at all."""
        return self.order.removeprefix("by ") if self.order.startswith("by ") else None

    def check(self, owner: str, ports: Mapping[str, Any]) -> None:
        """Hold a declaration to the node's ports.

        Raises:
          NodeTypeError: it names what is not there, or excuses a rule without a reason.
        """
        for rule, reason in self.excused.items():
            if not _RULE.fullmatch(rule) or not reason.strip():
                raise NodeTypeError(
                    f'{owner}, promises: excused[{rule!r}] = {reason!r}; write a rule and why, as in {{"C13": "the '
                    "emulator's state is not saved\"}"
                )
        if self.order not in ("total", "none") and not self.order_field:
            raise NodeTypeError(f'{owner}, promises: order={self.order!r}; write "total", "none" or "by FIELD"')
        if self.given.count(":") != bool(self.given):
            raise NodeTypeError(f'{owner}, promises: given={self.given!r}; write "module:function"')
        for port, where in self.cut.items():
            self._check_cut(owner, ports, port, where)

    def _check_cut(self, owner: str, ports: Mapping[str, Any], port: str, where: str) -> None:
        found = ports.get(port)
        if found is None or found.kind not in ("In", "Out"):
            streams = ", ".join(name for name, each in ports.items() if each.kind in ("In", "Out"))
            raise NodeTypeError(
                f"{owner}, promises: cut names '{port}', which is no stream of it; it has {streams or 'none'}"
            )
        name, _, dim = where.partition(".")
        fields = {each.name: each for each in found.messages[0].fields}
        if name not in fields or dim not in [each.name for each in fields[name].dims]:
            raise NodeTypeError(
                f"{owner}, promises: cut[{port!r}] = {where!r} is no field and dimension of "
                f'{found.messages[0].__name__}; write "field.dimension", as in "samples.time"'
            )
