"""For tests of nodes: a harness that drives one, strategies for messages, and a trio loop that Hypothesis steers."""

from flow.testing.harness import Driven as Driven
from flow.testing.harness import Published as Published
from flow.testing.harness import drive as drive
from flow.testing.strategies import messages as messages
