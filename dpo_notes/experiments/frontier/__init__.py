"""The reward-KL frontier: five methods at several strengths, all judged by the known true reward."""
