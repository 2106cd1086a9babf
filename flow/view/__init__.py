"""What a run shows of itself: terminal, plain lines, closing summary, TensorBoard, learning curve."""
