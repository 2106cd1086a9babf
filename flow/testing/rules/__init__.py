"""The rules of the contract, by number."""

from flow.testing.rules.batching import RULES as _BATCHING
from flow.testing.rules.faults import RULES as _FAULTS
from flow.testing.rules.messages import RULES as _MESSAGES
from flow.testing.rules.rule import BrokenError as BrokenError
from flow.testing.rules.rule import Rule as Rule
from flow.testing.rules.rule import Subject as Subject
from flow.testing.rules.rule import UnfitError as UnfitError
from flow.testing.rules.runtime import RULES as _RUNTIME
from flow.testing.rules.state import RULES as _STATE
from flow.testing.rules.streams import RULES as _STREAMS

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in sorted((*_MESSAGES, *_STREAMS, *_FAULTS, *_STATE, *_BATCHING, *_RUNTIME), key=lambda rule: rule.id)
}
