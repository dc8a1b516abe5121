"""The reward-KL frontier: five methods at several strengths, judged alike where the true reward is known."""
