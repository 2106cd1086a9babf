"""For tests of nodes: a harness that drives one, strategies for messages, and the contract that any node is held to."""

from flow.testing.case import Case as Case
from flow.testing.contract import contract as contract
from flow.testing.contract import examine as examine
from flow.testing.contract import hold as hold
from flow.testing.given import Given as Given
from flow.testing.harness import Driven as Driven
from flow.testing.harness import Published as Published
from flow.testing.harness import drive as drive
from flow.testing.interactive import Harness as Harness
from flow.testing.interactive import harness as harness
from flow.testing.machine import NodeMachine as NodeMachine
from flow.testing.rules import BrokenError as BrokenError
from flow.testing.strategies import laid_out as laid_out
from flow.testing.strategies import messages as messages
from flow.testing.targets import load_file as load_file
