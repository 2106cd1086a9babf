"""What valid settings and inputs of our nodes are, where their types cannot say: `Promises(given=…)` names these.

Only `flow test` loads them. They make messages of several families, as a graph would, and use Hypothesis.
"""
