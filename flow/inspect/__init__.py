"""Looking into a run, and changing it: from its pages alone, or through the control sockets of its processes."""
